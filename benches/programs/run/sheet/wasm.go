//go:build wasm

package main

//go:wasmexport run
func run(n int32) int64 { return work(n) }
