;; Exceptions thrown and caught.
(module
  (tag $failure (param i32))

  ;; Throws $value from below $frames frames; each has work left to do, so that none is a tail call.
  (func $descend (param $frames i32) (param $value i32) (result i32)
    (if (result i32) (local.get $frames)
      (then
        (i32.add
          (i32.const 1)
          (call $descend (i32.sub (local.get $frames) (i32.const 1)) (local.get $value))))
      (else (throw $failure (local.get $value)))))

  (func $catch (param $frames i32) (param $value i32) (result i32)
    (block $caught (result i32)
      (try_table (result i32) (catch $failure $caught)
        (call $descend (local.get $frames) (local.get $value)))))

  (func $repeat (param $frames i32) (param $times i32) (result i64)
    (local $sum i64)
    (loop $again
      (local.set $sum
        (i64.add
          (local.get $sum)
          (i64.extend_i32_u (call $catch (local.get $frames) (local.get $times)))))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum))

  ;; The sum of the values caught, thrown by the function that the handler calls.
  (func (export "shallow") (param $times i32) (result i64)
    (call $repeat (i32.const 0) (local.get $times)))

  ;; Through ten frames without a handler.
  (func (export "through_10_frames") (param $times i32) (result i64)
    (call $repeat (i32.const 10) (local.get $times)))

  ;; Each frame catches the exception from below it as a reference and throws it again.
  (func $pass_on (param $frames i32) (param $value i32) (result i32)
    (block $caught (result exnref)
      (return
        (try_table (result i32) (catch_all_ref $caught)
          (if (result i32) (local.get $frames)
            (then
              (i32.add
                (i32.const 1)
                (call $pass_on (i32.sub (local.get $frames) (i32.const 1)) (local.get $value))))
            (else (throw $failure (local.get $value)))))))
    (throw_ref))

  (func (export "rethrow_in_10_frames") (param $times i32) (result i64)
    (local $sum i64)
    (loop $again
      (local.set $sum
        (i64.add
          (local.get $sum)
          (i64.extend_i32_u
            (block $caught (result i32)
              (try_table (result i32) (catch $failure $caught)
                (call $pass_on (i32.const 9) (local.get $times)))))))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum))

  ;; Throws for zero.
  (func $checked (param $value i32) (result i32)
    (if (i32.eqz (local.get $value)) (then (throw $failure (i32.const -1))))
    (i32.xor (local.get $value) (i32.const 0x55)))

  ;; A handler that is entered and left without an exception.
  (func (export "not_thrown") (param $times i32) (result i64)
    (local $sum i64)
    (loop $again
      (local.set $sum
        (i64.add
          (local.get $sum)
          (i64.extend_i32_u
            (block $caught (result i32)
              (try_table (result i32) (catch $failure $caught)
                (call $checked (local.get $times)))))))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum)))
