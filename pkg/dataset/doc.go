// Package dataset reads tables: the reference and current files of compare, the
// files that baselines are imported from, and the rows that send publishes.
//
//	file -> bytes (gunzip, limits) -> CSV | JSONL | Parquet -> Row of Cells -> Map -> event.Event
//	                                        \-> one pass of inference -> Column types
//
// It does not compare, store or publish anything, and it holds one row at a
// time: a table of any length is read in bounded memory. Column types are
// inferred in a first pass when the file is opened, so a file is read twice.
//
// Files come from people: every fault is an error that names the file, the line
// (or row) and the column. Sizes are capped before and after decompression, and
// a panic of the Parquet library on a crafted file becomes an error. A Table is
// owned by one goroutine.
package dataset
