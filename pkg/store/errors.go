package store

import "errors"

// When opening.
var (
	// ErrLocked says that another process holds the directory.
	ErrLocked = errors.New("store is in use")
	// ErrOccupied says that a store is to be made where there is one.
	ErrOccupied = errors.New("there is a store already")
	// ErrNewerSchema says that a later version of driftd wrote the store.
	ErrNewerSchema = errors.New("store was written by a newer driftd")
)

// When writing.
var (
	// ErrTooBig says that a batch fits in no transaction, or that larger memory tables
	// would take it and could not be had because somebody read for too long.
	ErrTooBig = errors.New("batch is too big for one transaction")
	// ErrNoSpace says that the disk has less room than Options.ReserveBytes.
	// Nothing was written; the same batch may be tried again.
	ErrNoSpace = errors.New("disk is nearly full")
	// ErrFailed says that an earlier commit ended in an unknown state. Only
	// opening the store again can tell what it holds.
	ErrFailed = errors.New("store failed earlier")
)

// When reading.
var (
	// ErrReopened says that the store was closed and opened under one who read for
	// long, because a commit did not fit. To begin again will do.
	ErrReopened = errors.New("memory tables have grown meanwhile: begin again")
	// ErrDamaged says that the store contradicts itself: a value does not fit
	// its checksum, or something that must be there is not.
	ErrDamaged = errors.New("store is damaged")
	// ErrNotFound says that nothing has the given name or sequence.
	ErrNotFound = errors.New("not found")
	// ErrClosed says that the store has been closed.
	ErrClosed = errors.New("store is closed")
)
