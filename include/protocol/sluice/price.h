/*
 * What a request costs, by the prices of the configuration (PRICES). No floating point: a price is in 1e-12 USD a token,
 * a cost in 1e-9 USD.
 */
#ifndef SLUICE_PRICE_H
#define SLUICE_PRICE_H

#include "sluice/config.h"
#include "sluice/slice.h"
#include "sluice/usage.h"

#include <stdint.h>

/*
 * The price of a model: of exactly this name, else of the longest beginning of it; NULL where there is none. Some
 * binary searches, at most one more than the longest pattern has bytes. The price belongs to the configuration.
 */
const struct config_price *price_find(const struct config_prices *prices, struct slice model);

/*
 * The cost of what was used, rounded to the nearest nano-USD. Cached tokens are a part of the input, and never more than
 * it; counts below 0 are 0. Where it would be more than 18 million USD, it is that.
 */
uint64_t price_cost(const struct config_price *price, const struct usage *usage);

#endif
