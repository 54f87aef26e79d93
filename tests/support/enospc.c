#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* While the file $EIO_FLAG is there: so many more writes to the record succeed as it says, then each finds no space. A new file counts anew. */
static int full(int fd) {
    char link[64], name[512], words[32] = {0};
    static ino_t counted; static long left;
    const char *path = getenv("EIO_FLAG");
    struct stat now;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    if (!strstr(name, "record.sqlite") || strstr(name, "-shm") || !path || stat(path, &now)) return 0;
    if (now.st_ino != counted) {
        FILE *file = fopen(path, "r");
        if (!file) return 0;
        if (!fread(words, 1, sizeof words - 1, file)) words[0] = '0';
        fclose(file);
        counted = now.st_ino;
        left = atol(words);
    }
    return left-- <= 0;
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    if (full(fd)) { errno = ENOSPC; return -1; }
    return real(fd, data, size, at);
}
ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (full(fd)) { errno = ENOSPC; return -1; }
    return real(fd, data, size);
}
