/* What an event of a stream says: never outside of it, and the part to hide is what it claims to be. */
#include "fuzz.h"

#include "sluice/stream_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct stream_event e;
    stream_event_read(slice_make(bytes, size), &e);
    FUZZ_ASSERT(e.delta_tokens <= size);
    if (e.null_usage.len > 0) {
        FUZZ_ASSERT(e.null_usage.ptr >= (const char *)bytes);
        FUZZ_ASSERT(e.null_usage.ptr + e.null_usage.len <= (const char *)bytes + size);
        FUZZ_ASSERT(e.null_usage.ptr[0] == ',');
        FUZZ_ASSERT(memmem(e.null_usage.ptr, e.null_usage.len, "\"usage\"", 7) != NULL);
        FUZZ_ASSERT(memcmp(e.null_usage.ptr + e.null_usage.len - 4, "null", 4) == 0);
    }
    return 0;
}
