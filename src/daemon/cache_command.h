/* `sluice cache stats` and `sluice cache clear`. */
#ifndef SLUICE_CACHE_COMMAND_H
#define SLUICE_CACHE_COMMAND_H

/* argv[0] is "cache". Gives the program's exit status. */
int cache_command_main(int argc, char **argv);

#endif
