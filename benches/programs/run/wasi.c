/* Stands for what the C library would import from WASI, so that its programs import nothing. They call none of it, but that the library
 * looks for folders when it starts. */
#include <stdint.h>

#define ABSENT(name, ...) \
  int32_t __imported_wasi_snapshot_preview1_##name(__VA_ARGS__) { __builtin_trap(); }

ABSENT(clock_time_get, int32_t clock, int64_t precision, int32_t time)
ABSENT(environ_get, int32_t variables, int32_t text)
ABSENT(environ_sizes_get, int32_t count, int32_t size)
ABSENT(fd_close, int32_t fd)
ABSENT(fd_fdstat_get, int32_t fd, int32_t stat)
ABSENT(fd_fdstat_set_flags, int32_t fd, int32_t flags)
ABSENT(fd_filestat_get, int32_t fd, int32_t stat)
ABSENT(fd_prestat_dir_name, int32_t fd, int32_t path, int32_t size)
ABSENT(fd_renumber, int32_t fd, int32_t to)
ABSENT(fd_read, int32_t fd, int32_t vectors, int32_t count, int32_t size)
ABSENT(fd_seek, int32_t fd, int64_t offset, int32_t whence, int32_t position)
ABSENT(fd_write, int32_t fd, int32_t vectors, int32_t count, int32_t size)
ABSENT(path_open, int32_t fd, int32_t flags, int32_t path, int32_t size, int32_t open_flags, int64_t rights, int64_t inheriting,
       int32_t fd_flags, int32_t opened)
ABSENT(random_get, int32_t buffer, int32_t size)

/* There is no folder. */
int32_t __imported_wasi_snapshot_preview1_fd_prestat_get(int32_t fd, int32_t stat) {
  enum { BADF = 8 };
  (void)fd, (void)stat;
  return BADF;
}

_Noreturn void __imported_wasi_snapshot_preview1_proc_exit(int32_t code) {
  (void)code;
  __builtin_trap();
}
