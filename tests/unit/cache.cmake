# The cache: what it keeps, for whom, where, and in which form it is given.
foreach(name json_scan canonical cache_key cache_policy embeddings stream_fold)
  sluice_add_unit_test(${name} sluice_protocol PkgConfig::JANSSON m)
endforeach()
foreach(name cache_record cache_lmdb inflight)
  sluice_add_unit_test(${name} sluice_store)
  target_sources(test_${name} PRIVATE cache_world.c)
endforeach()
