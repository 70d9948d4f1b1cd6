# The cache: what it keeps, for whom, where, and in which form it is given.
sluice_add_unit_test(cache_record sluice_store)
sluice_add_unit_test(cache_lmdb sluice_store)
foreach(name cache_record cache_lmdb)
  target_sources(test_${name} PRIVATE cache_world.c)
endforeach()
