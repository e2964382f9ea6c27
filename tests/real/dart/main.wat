;; Starts a Dart program without arguments.
(module
  (type $externs (array (mut externref)))
  (import "program" "$invokeMain" (func $main (param (ref $externs))))
  (func (export "_start")
    (call $main (array.new_fixed $externs 0))))
