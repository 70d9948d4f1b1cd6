# What is counted and shown.
sluice_add_unit_test(config_metrics sluice_store)
sluice_add_unit_test(exposition sluice_protocol)
sluice_add_unit_test(network sluice_base)
sluice_add_unit_test(metrics sluice_store PkgConfig::JANSSON)
sluice_add_unit_test(log_sink sluice_base PkgConfig::JANSSON)
sluice_add_unit_test(mask sluice_protocol)
