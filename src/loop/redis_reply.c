/* Replies, without hiredis' types. */
#include "sluice/redis.h"

#include <hiredis/hiredis.h>

static const redisReply *redis_reply_of(const struct redis_reply *reply)
{
    return (const redisReply *)reply;
}

enum redis_type redis_reply_type(const struct redis_reply *reply)
{
    switch (reply ? redis_reply_of(reply)->type : REDIS_REPLY_NIL) {
    case REDIS_REPLY_INTEGER:
        return REDIS_TYPE_INTEGER;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return REDIS_TYPE_STRING;
    case REDIS_REPLY_ERROR:
        return REDIS_TYPE_ERROR;
    case REDIS_REPLY_ARRAY:
        return REDIS_TYPE_ARRAY;
    default:
        return REDIS_TYPE_NIL;
    }
}

int64_t redis_reply_integer(const struct redis_reply *reply)
{
    return redis_reply_type(reply) == REDIS_TYPE_INTEGER ? redis_reply_of(reply)->integer : 0;
}

struct slice redis_reply_text(const struct redis_reply *reply)
{
    enum redis_type type = redis_reply_type(reply);
    if (type != REDIS_TYPE_STRING && type != REDIS_TYPE_ERROR)
        return (struct slice){NULL, 0};
    return slice_make(redis_reply_of(reply)->str, redis_reply_of(reply)->len);
}

size_t redis_reply_count(const struct redis_reply *reply)
{
    return redis_reply_type(reply) == REDIS_TYPE_ARRAY ? redis_reply_of(reply)->elements : 0;
}

const struct redis_reply *redis_reply_item(const struct redis_reply *reply, size_t index)
{
    if (index >= redis_reply_count(reply))
        return NULL;
    return (const struct redis_reply *)redis_reply_of(reply)->element[index];
}
