/* `sluice limits`: what each key has left, and --reset. */
#ifndef SLUICE_LIMITS_COMMAND_H
#define SLUICE_LIMITS_COMMAND_H

/* argv[0] is "limits". Gives the program's exit status. */
int limits_command_main(int argc, char **argv);

#endif
