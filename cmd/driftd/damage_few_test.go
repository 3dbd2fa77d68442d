//go:build !soak

package main

// damages is how many stores TestDamagedStores spoils; make soak spoils more.
const damages = 60
