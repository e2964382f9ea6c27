;; Does nothing: what remains is the command's own time.
(module
  (memory (export "memory") 1)
  (func (export "_start")))
