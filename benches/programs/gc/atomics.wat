;; Threads that contend for one word. Each thread has an instance of its own; the memory is shared by all.
;;
;; A sample: the host calls `prepare` in one instance, starts its threads, each of which calls a worker function, and calls
;; `await` with the number of threads. When that returns, all are ready, and the time of `run` is taken: it releases the
;; threads, waits until they are done, and returns the checksum.
(module
  (import "env" "memory" (memory 1 1 shared))

  ;; Words that contend have a cache line, and its neighbour, of their own.
  (global $ready i32 (i32.const 0))
  (global $go i32 (i32.const 128))
  (global $done i32 (i32.const 256))
  (global $lock i32 (i32.const 384))
  (global $counter i32 (i32.const 512))

  (func (export "prepare")
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 1024)))

  (func (export "await") (param $threads i32)
    (loop $again
      (br_if $again (i32.lt_u (i32.atomic.load (global.get $ready)) (local.get $threads)))))

  (func (export "run") (param $threads i32) (result i64)
    (local $done i32)
    (i32.atomic.store (global.get $go) (i32.const 1))
    (drop (memory.atomic.notify (global.get $go) (i32.const -1)))
    (loop $again
      (local.set $done (i32.atomic.load (global.get $done)))
      (if (i32.lt_u (local.get $done) (local.get $threads))
        (then
          (drop (memory.atomic.wait32 (global.get $done) (local.get $done) (i64.const -1)))
          (br $again))))
    (i64.load (global.get $counter)))

  (func $start
    (drop (i32.atomic.rmw.add (global.get $ready) (i32.const 1)))
    (loop $again
      (drop (memory.atomic.wait32 (global.get $go) (i32.const 0) (i64.const -1)))
      (br_if $again (i32.eqz (i32.atomic.load (global.get $go))))))

  (func $finish
    (drop (i32.atomic.rmw.add (global.get $done) (i32.const 1)))
    (drop (memory.atomic.notify (global.get $done) (i32.const -1))))

  (func (export "fetch_add") (param $times i32)
    (call $start)
    (loop $again
      (drop (i64.atomic.rmw.add (global.get $counter) (i64.const 1)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (call $finish))

  (func (export "compare_exchange") (param $times i32)
    (local $seen i64) (local $was i64)
    (call $start)
    (local.set $seen (i64.atomic.load (global.get $counter)))
    (loop $again
      (local.set $was
        (i64.atomic.rmw.cmpxchg
          (global.get $counter)
          (local.get $seen)
          (i64.add (local.get $seen) (i64.const 1))))
      (if (i64.ne (local.get $was) (local.get $seen))
        (then
          (local.set $seen (local.get $was))
          (br $again)))
      (local.set $seen (i64.add (local.get $seen) (i64.const 1)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (call $finish))

  ;; Drepper's third mutex, with spinning: 0 is free, 1 is held, 2 is held and somebody may sleep.
  (func $acquire
    (local $left i32)
    (local.set $left (i32.const 100))
    (loop $spin
      (if
        (i32.eqz
          (i32.atomic.rmw.cmpxchg (global.get $lock) (i32.const 0) (i32.const 1)))
        (then (return)))
      (br_if $spin (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (block $held
      (loop $sleep
        (br_if $held (i32.eqz (i32.atomic.rmw.xchg (global.get $lock) (i32.const 2))))
        (drop (memory.atomic.wait32 (global.get $lock) (i32.const 2) (i64.const -1)))
        (br $sleep))))

  (func $release
    (if (i32.ne (i32.atomic.rmw.xchg (global.get $lock) (i32.const 0)) (i32.const 1))
      (then (drop (memory.atomic.notify (global.get $lock) (i32.const 1))))))

  ;; The counter is changed without atomics, under the lock.
  (func (export "lock") (param $times i32)
    (call $start)
    (loop $again
      (call $acquire)
      (i64.store (global.get $counter) (i64.add (i64.load (global.get $counter)) (i64.const 1)))
      (call $release)
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (call $finish)))
