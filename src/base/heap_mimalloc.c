/* The heap of a build for use. */
#include "sluice/heap.h"

#include <mimalloc.h>

void heap_give_back(void)
{
    mi_collect(true);
}
