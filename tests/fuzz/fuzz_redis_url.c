/* Redis URLs: any bytes are taken or refused, and what is taken is within its bounds. */
#include "fuzz.h"

#include "sluice/redis_url.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct redis_url url;
    const char *wrong = redis_url_parse(slice_make(data, size), &url);
    FUZZ_ASSERT(memchr(url.host, '\0', sizeof url.host) && memchr(url.path, '\0', sizeof url.path));
    FUZZ_ASSERT(memchr(url.user, '\0', sizeof url.user) && memchr(url.password, '\0', sizeof url.password));
    if (wrong)
        return 0;
    FUZZ_ASSERT((url.host[0] != '\0') != (url.path[0] == '/'));
    FUZZ_ASSERT(url.host[0] == '\0' || url.port > 0);
    FUZZ_ASSERT(url.database >= 0 && url.database <= REDIS_URL_DATABASE_MAX);
    FUZZ_ASSERT(url.user[0] == '\0' || url.password[0] != '\0');
    return 0;
}
