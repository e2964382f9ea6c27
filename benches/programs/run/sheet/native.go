//go:build !wasm

package main

import "C"

//export run
func run(n int32) int64 { return work(n) }
