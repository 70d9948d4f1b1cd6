/* The heap has no function to make it larger: as many timers as it shall hold are armed, and disarmed again. */
#include "sluice/timers.h"

#include <event2/event_struct.h>
#include <stdlib.h>

enum { TIMERS_FAR_SECONDS = 1000000 };

static void timers_on_far(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

bool timers_reserve(struct event_base *base, size_t count)
{
    const struct timeval far = {TIMERS_FAR_SECONDS, 0};
    struct event *timers = calloc(count, sizeof *timers);
    size_t armed = 0;
    if (!timers)
        return false;
    while (armed < count && event_assign(&timers[armed], base, -1, 0, timers_on_far, NULL) == 0 &&
           event_add(&timers[armed], &far) == 0)
        armed++;
    for (size_t i = armed; i-- > 0;)
        event_del(&timers[i]);
    free(timers);
    return armed == count;
}
