//go:build soak

package main

// damages is the figure of reliability.md R6.
const damages = 300
