#include "endpoints.h"
void embeddings_handle(struct conn *c) { misc_echo(c); }
