# The configuration: the option table, the .env parser, and everything that is made from the table.
sluice_add_layer(config
  SOURCES
    config.c
    config_check.c
    config_file.c
    config_print.c
    config_report.c
    dotenv.c
    option_json.c
    option_keys.c
    option_limits.c
    option_metrics.c
    option_prices.c
    option_url.c
    option_value.c
    options.c
    options_doc.c
    redis_url.c
  USES sluice_base PkgConfig::JANSSON)
