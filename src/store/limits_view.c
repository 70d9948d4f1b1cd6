/* Reading the shared file without taking part. */
#include "limits_view_sides.h"

enum { LIMITS_VIEW_BYTES = (KEY_FINGERPRINT_SIZE - 1) / 2 };

bool limits_view_is_fingerprint(const char *text)
{
    size_t len = strspn(text, "0123456789abcdef");
    return len == KEY_FINGERPRINT_SIZE - 1 && text[len] == '\0';
}

static int64_t limits_view_said(int64_t value, int64_t otherwise)
{
    return value < 0 ? otherwise : value;
}

struct limits_rates limits_view_rates(const struct config *c, const char *fingerprint)
{
    struct limits_rates rates = {c->rate_limit_requests_per_minute, c->rate_limit_tokens_per_minute,
                                 c->rate_limit_concurrent_requests};
    for (size_t i = 0; i < c->rate_limit_overrides.count; i++) {
        const struct config_override *o = &c->rate_limit_overrides.items[i];
        char hex[KEY_FINGERPRINT_SIZE];
        digest_hex(o->client_key.bytes, LIMITS_VIEW_BYTES, hex);
        if (strcmp(hex, fingerprint) == 0)
            rates = (struct limits_rates){limits_view_said(o->requests_per_minute, rates.requests),
                                          limits_view_said(o->tokens_per_minute, rates.tokens),
                                          limits_view_said(o->concurrent_requests, rates.concurrent)};
    }
    return rates;
}

/* False: the slot is nobody's. */
static bool limits_view_name(struct limits_shared *s, struct limits_slot *slot,
                             char out[KEY_FINGERPRINT_SIZE])
{
    uint64_t tag = atomic_load(&slot->tag_high);
    bool shared = limits_slot_is_shared(s, slot);
    digest_hex(&tag, LIMITS_VIEW_BYTES, out);
    if (shared)
        out[0] = '\0';
    return shared ? atomic_load(&slot->used_ns) != 0 : tag > 1;
}

static void limits_view_slot(const struct config *c, struct limits_shared *s, struct limits_slot *slot,
                             int64_t now, struct limits_view_row *row)
{
    struct limits_rates rates = limits_view_rates(c, row->fingerprint);
    struct limits_decision d = {0};
    limits_describe(&rates, bucket_wait_full(atomic_load(&slot->requests_tat), now),
                    bucket_wait_full(atomic_load(&slot->tokens_tat), now), &d);
    row->requests = d.requests;
    row->tokens = d.tokens;
    row->concurrent_limit = rates.concurrent;
    row->concurrent = limits_ticket_count(s, slot);
    row->learned_output = limits_learned(atomic_load(&slot->learned));
}

static struct limits_shared *limits_view_open(const struct config *c, struct shared_file *f, int64_t *now,
                                              struct buf *message)
{
    if (!shared_file_open_existing(f, c->state_dir, LIMITS_FILE, LIMITS_LAYOUT, sizeof(struct limits_shared),
                                   message))
        return NULL;
    *now = limits_clock_ns(limits_clock_open(f->data));
    return f->data;
}

bool limits_view_list(const struct config *c, limits_view_callback *callback, void *user, struct buf *message)
{
    struct shared_file f;
    int64_t now;
    if (c->rate_limit_backend == CONFIG_LIMIT_REDIS)
        return limits_view_redis_list(c, callback, user, message);
    struct limits_shared *s = limits_view_open(c, &f, &now, message);
    for (size_t i = 0; s && i <= LIMITS_KEYS; i++) {
        struct limits_view_row row;
        if (!limits_view_name(s, &s->slots[i], row.fingerprint))
            continue;
        limits_view_slot(c, s, &s->slots[i], now, &row);
        callback(user, &row);
    }
    shared_file_close(&f);
    return s != NULL;
}

bool limits_view_reset(const struct config *c, const char *fingerprint, struct buf *message)
{
    struct shared_file f;
    int64_t now;
    bool found = false;
    if (c->rate_limit_backend == CONFIG_LIMIT_REDIS)
        return limits_view_redis_reset(c, fingerprint, message);
    struct limits_shared *s = limits_view_open(c, &f, &now, message);
    for (size_t i = 0; s && i < LIMITS_KEYS; i++) {
        char name[KEY_FINGERPRINT_SIZE];
        if (!limits_view_name(s, &s->slots[i], name) || strcmp(name, fingerprint) != 0)
            continue;
        atomic_store(&s->slots[i].requests_tat, 0);
        atomic_store(&s->slots[i].tokens_tat, 0);
        found = true;
    }
    if (s && !found)
        buf_printf(message, "no key with the fingerprint %s has been seen", fingerprint);
    shared_file_close(&f);
    return found;
}
