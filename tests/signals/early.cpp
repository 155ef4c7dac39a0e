// For LD_PRELOAD: SIGTERM comes to a process while its libraries are initialised, before main().
#include <signal.h>
#include <unistd.h>

[[gnu::constructor]] static void signal_early() { kill(getpid(), SIGTERM); }
