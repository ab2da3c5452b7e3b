/* What tests put before a real daemon (LD_PRELOAD): a disk that hangs or is full, look-ups that hang, a sync that fails, and
 * a calendar that is set.
 *
 * The directory in SHIM_DIR has one file for each, read anew at each call: `disk`, `names` (users and groups), `dns` and
 * `config` (looks at the configuration's file) and `pins` (the sync of host.json alone) hold milliseconds, `calendar` seconds; `fail` makes the next sync fail and
 * goes away; with a number other than 0 in `full` nothing is written at a place in a file, and with one in `directories`
 * none can be synced. A file that is not there changes nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long number(const char *name)
{
    char path[512], text[32] = "";
    const char *directory = getenv("SHIM_DIR");
    if (!directory)
        return 0;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atol(text) : 0;
}

/* Until the time is over, or the file says otherwise. */
static void hang(const char *name)
{
    struct timespec pause = {0, 20 * 1000 * 1000};
    for (long waited = 0; waited < number(name); waited += 20)
        nanosleep(&pause, NULL);
}

static int fails(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/fail", getenv("SHIM_DIR") ? getenv("SHIM_DIR") : "");
    if (unlink(path) != 0)
        return 0;
    errno = EIO;
    return 1;
}

static int is_of_pins(int file)
{
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return strstr(path, "host.json") != NULL;
}

int fsync(int file)
{
    struct stat what;
    if (is_of_pins(file))
        hang("pins");
    hang("disk");
    if (fails())
        return -1;
    if (number("directories") && fstat(file, &what) == 0 && S_ISDIR(what.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    hang("disk");
    if (fails())
        return -1;
    return (int)syscall(SYS_fdatasync, file);
}

int statx(int folder, const char *path, int flags, unsigned mask, struct statx *found)
{
    if (path && strstr(path, "rackbmcd.toml"))
        hang("config");
    return (int)syscall(SYS_statx, folder, path, flags, mask, found);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += number("calendar");
    return result;
}

int getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **found)
{
    int (*next)(uid_t, struct passwd *, char *, size_t, struct passwd **) = dlsym(RTLD_NEXT, "getpwuid_r");
    hang("names");
    return next(uid, entry, buffer, size, found);
}

int getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **found)
{
    int (*next)(const char *, struct passwd *, char *, size_t, struct passwd **) = dlsym(RTLD_NEXT, "getpwnam_r");
    hang("names");
    return next(name, entry, buffer, size, found);
}

int getgrnam_r(const char *name, struct group *entry, char *buffer, size_t size, struct group **found)
{
    int (*next)(const char *, struct group *, char *, size_t, struct group **) = dlsym(RTLD_NEXT, "getgrnam_r");
    hang("names");
    return next(name, entry, buffer, size, found);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    hang("dns");
    return next(node, service, hints, found);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at)
{
    if (number("full")) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, file, bytes, count, at);
}
