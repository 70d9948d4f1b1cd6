# Rate limits, and what they stand on. Those with "redis" in their name start a redis-server of their own.
sluice_add_unit_test(redis sluice_loop)
target_sources(test_redis PRIVATE redis_server.c)
sluice_add_unit_test(bucket sluice_store)
sluice_add_unit_test(limits sluice_store)
target_sources(test_limits PRIVATE limits_world.c)
target_include_directories(test_limits PRIVATE "${PROJECT_SOURCE_DIR}/src/store")
