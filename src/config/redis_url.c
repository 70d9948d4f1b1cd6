/* Redis URLs: cut into parts, each checked and decoded. */
#include "sluice/redis_url.h"

#include "option_value.h"

#include <arpa/inet.h>
#include <ctype.h>

enum { REDIS_URL_MAX = 2048, REDIS_URL_PORT = 6379 };

static struct slice redis_url_before(struct slice text, char end)
{
    const char *at = text.len ? memchr(text.ptr, end, text.len) : NULL;
    return at ? slice_take(text, (size_t)(at - text.ptr)) : text;
}

static int redis_url_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False where a % is followed by something else than two digits, for %00, and for what is too long. */
static bool redis_url_decode(struct slice text, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int c = (unsigned char)text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? redis_url_hex(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? redis_url_hex(text.ptr[i + 2]) : -1;
            c = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (c == 0 || n + 1 >= size)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

static bool redis_url_copy(struct slice text, char *out, size_t size)
{
    if (text.len >= size)
        return false;
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

static const char *redis_url_take_user(struct slice user_info, struct redis_url *out)
{
    struct slice user = redis_url_before(user_info, ':');
    struct slice password = slice_skip(user_info, user.len + 1);
    if (!redis_url_decode(user, out->user, sizeof out->user) ||
        !redis_url_decode(password, out->password, sizeof out->password))
        return "has a user name or password that is too long or has a wrong %";
    return out->user[0] && !out->password[0] ? "has a user name without a password" : NULL;
}

static const char *redis_url_take_database(struct slice text, struct redis_url *out)
{
    return text.len == 0 || option_parse_number(text, REDIS_URL_DATABASE_MAX, &out->database)
               ? NULL
               : "has a database that is not a number from 0 to 65535";
}

static bool redis_url_is_host(struct slice host, bool brackets)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (brackets)
        return redis_url_copy(host, text, sizeof text) && inet_pton(AF_INET6, text, &address) == 1;
    for (size_t i = 0; i < host.len; i++)
        if (!isalnum((unsigned char)host.ptr[i]) && !strchr(".-_", host.ptr[i]))
            return false;
    return host.len > 0;
}

static const char *redis_url_take_host(struct slice authority, struct redis_url *out)
{
    bool brackets = authority.len > 0 && authority.ptr[0] == '[';
    struct slice host =
        redis_url_before(brackets ? slice_skip(authority, 1) : authority, brackets ? ']' : ':');
    struct slice rest = slice_skip(authority, host.len + (brackets ? 2 : 0));
    int64_t port = REDIS_URL_PORT;
    if (host.len == 0)
        return "has no host";
    if (brackets && host.len + 2 > authority.len)
        return "has no ] after its IPv6 address";
    if (!redis_url_is_host(host, brackets) || !redis_url_copy(host, out->host, sizeof out->host))
        return "has a host that is not a name or an address";
    if (rest.len > 0 &&
        (rest.ptr[0] != ':' || !option_parse_number(slice_skip(rest, 1), UINT16_MAX, &port) || port == 0))
        return "has a port that is not a number from 1 to 65535";
    out->port = (uint16_t)port;
    return NULL;
}

/* What stands before the first slash, of which what stands before the last @ is the user. */
static const char *redis_url_take_authority(struct slice authority, struct slice *host, struct redis_url *out)
{
    const char *at = authority.len ? memrchr(authority.ptr, '@', authority.len) : NULL;
    size_t user = at ? (size_t)(at - authority.ptr) : 0;
    *host = at ? slice_skip(authority, user + 1) : authority;
    return at ? redis_url_take_user(slice_take(authority, user), out) : NULL;
}

static const char *redis_url_take_tcp(struct slice authority, struct slice path, struct redis_url *out)
{
    struct slice host;
    const char *wrong = redis_url_take_authority(authority, &host, out);
    if (!wrong)
        wrong = redis_url_take_host(host, out);
    return wrong ? wrong : redis_url_take_database(slice_skip(path, 1), out);
}

static const char *redis_url_take_unix(struct slice authority, struct slice path, struct redis_url *out)
{
    struct slice host, file = redis_url_before(path, '?'), query = slice_skip(path, file.len + 1);
    const char *wrong = redis_url_take_authority(authority, &host, out);
    if (wrong)
        return wrong;
    if (host.len > 0 || file.len < 2)
        return "has no absolute path: unix:///path";
    if (!redis_url_decode(file, out->path, sizeof out->path))
        return "has a path that is too long, or a wrong %";
    if (query.len > 0 && !slice_starts_with(query, SLICE_LITERAL("db=")))
        return "has a query that is not db=NUMBER";
    return redis_url_take_database(slice_skip(query, 3), out);
}

const char *redis_url_parse(struct slice url, struct redis_url *out)
{
    *out = (struct redis_url){.port = 0};
    if (url.len > REDIS_URL_MAX)
        return "is too long";
    for (size_t i = 0; i < url.len; i++)
        if (url.ptr[i] <= ' ' || (unsigned char)url.ptr[i] >= 0x7F)
            return "contains a blank, a control character or one that is not ASCII";
    struct slice scheme = redis_url_before(url, ':'), rest = slice_skip(url, scheme.len);
    if (!slice_starts_with(rest, SLICE_LITERAL("://")))
        return "is not a URL";
    rest = slice_skip(rest, 3);
    struct slice authority = redis_url_before(rest, '/'), path = slice_skip(rest, authority.len);
    if (slice_equals_nocase(scheme, SLICE_LITERAL("redis")))
        return redis_url_take_tcp(authority, path, out);
    if (slice_equals_nocase(scheme, SLICE_LITERAL("unix")))
        return redis_url_take_unix(authority, path, out);
    if (slice_equals_nocase(scheme, SLICE_LITERAL("rediss")))
        return "asks for TLS, which the Redis client library of this system cannot do; let a tunnel such as "
               "stunnel do "
               "it";
    return "has the wrong scheme";
}
