/*
 * Usage: counts are never negative, nothing is read beyond the end, what is not found changes nothing, and in
 * a text that is valid JSON only a member that is really called "usage" is found.
 */
#include "fuzz.h"

#include "sluice/usage.h"

#include <jansson.h>

static bool has_usage(const json_t *value)
{
    const char *name;
    json_t *member;
    size_t i;
    if (json_is_array(value)) {
        json_array_foreach((json_t *)(uintptr_t)value, i, member)
        {
            if (has_usage(member))
                return true;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, member)
    {
        if ((strcmp(name, "usage") == 0 && json_is_object(member)) || has_usage(member))
            return true;
    }
    return false;
}

/* Duplicate members would hide one from jansson. */
static void check_against_json(struct slice text, bool found)
{
    json_t *json = text.len ? json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (json && found)
        FUZZ_ASSERT(has_usage(json));
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct usage u = {.total_tokens = 77};
    struct slice text = slice_make(data, size);
    bool found = usage_find(text, &u);
    FUZZ_ASSERT(found == u.known);
    FUZZ_ASSERT(found || u.total_tokens == 77);
    FUZZ_ASSERT(u.input_tokens >= 0 && u.output_tokens >= 0 && u.total_tokens >= 0);
    FUZZ_ASSERT(u.cached_tokens >= 0 && u.reasoning_tokens >= 0);
    check_against_json(text, found);
    return 0;
}
