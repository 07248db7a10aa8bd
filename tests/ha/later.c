/*
 * Preloaded into a program, puts its wall clock forward by as many seconds as the file named by LATER says, from the moment it says
 * so; without that file the clock is right. Waits go by the monotonic clock, which is left as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long seconds_later(void) {
    const char *path = getenv("LATER");
    char text[32];
    ssize_t length;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (file < 0)
        return 0;
    length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = '\0';
    return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*right)(clockid_t, struct timespec *);

    if (!right)
        right = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (right(clock, at))
        return -1;
    if (clock == CLOCK_REALTIME)
        at->tv_sec += seconds_later();
    return 0;
}
