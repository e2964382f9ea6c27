;; What Go's runtime asks of WASI, answered within the module: no arguments, no environment, no files, and a clock and random numbers
;; that are always the same.
(module
  (import "program" "memory" (memory 0))

  (global $now (mut i64) (i64.const 0))
  (global $badf i32 (i32.const 8))

  (func $nothing_there (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $nothing_there))
  (export "environ_sizes_get" (func $nothing_there))

  (func $get_nothing (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $get_nothing))
  (export "environ_get" (func $get_nothing))

  ;; Each look at the clock takes a microsecond.
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $time i32) (result i32)
    (global.set $now (i64.add (global.get $now) (i64.const 1000)))
    (i64.store (local.get $time) (global.get $now))
    (i32.const 0))

  (func (export "random_get") (param $buffer i32) (param $size i32) (result i32)
    (memory.fill (local.get $buffer) (i32.const 42) (local.get $size))
    (i32.const 0))

  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; There is nothing to wait for.
  (func (export "poll_oneoff") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "proc_exit") (param i32) unreachable)

  (func (export "fd_close") (param i32) (result i32) (global.get $badf))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "fd_write") (param i32 i32 i32 i32) (result i32) (global.get $badf)))
