# Rate limits, and what they stand on. Those with "redis" in their name start a redis-server of their own.
sluice_add_unit_test(redis sluice_loop)
target_sources(test_redis PRIVATE redis_server.c)
