package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// maxPage bounds a Parquet page: writers make pages of about 1 MiB, some one page
// a row group.
const maxPage = 256 << 20

// freePage is the size up to which a page is not held to the ratio.
const freePage = 8 << 20

// checkPages reads the page headers of a column chunk and refuses sizes that the
// chunk cannot hold, because the library allocates what a header claims: a
// header of a few bytes can ask for gigabytes.
func (s *parquetSource) checkPages(chunk *format.ColumnMetaData, rows int64) error {
	start := chunk.DataPageOffset
	if chunk.DictionaryPageOffset != 0 {
		start = chunk.DictionaryPageOffset
	}
	size := chunk.TotalCompressedSize
	if st, err := s.file.Stat(); err != nil {
		return fmt.Errorf("read Parquet file: %w", err)
	} else if start < 0 || size < 0 || start > st.Size() || size > st.Size()-start {
		return fmt.Errorf("is damaged: column data of %d bytes at %d is not in the file", size, start)
	}
	section := io.NewSectionReader(s.file, start, size)
	buf := bufio.NewReaderSize(section, 4096)
	decoder := thrift.NewDecoder((&thrift.CompactProtocol{}).NewReader(buf))
	for values := int64(0); values < rows; {
		var h format.PageHeader
		if err := decoder.Decode(&h); err != nil {
			return err
		}
		at, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return fmt.Errorf("read Parquet page: %w", err)
		}
		at -= int64(buf.Buffered()) // where the page's data begins
		n, err := s.checkPage(&h, size-at, rows)
		if err != nil {
			return err
		}
		values += n
		if _, err := section.Seek(at+int64(h.CompressedPageSize), io.SeekStart); err != nil {
			return fmt.Errorf("read Parquet page: %w", err)
		}
		buf.Reset(section)
	}
	return nil
}

// checkPage returns the number of values in the page; a dictionary has none.
func (s *parquetSource) checkPage(h *format.PageHeader, left, rows int64) (int64, error) {
	in, out := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	switch {
	case in < 0 || in > left:
		return 0, fmt.Errorf("is damaged: page of %d bytes where %d are left", in, left)
	case out < 0:
		return 0, errors.New("is damaged: page of negative size")
	case out > maxPage:
		return 0, fmt.Errorf("page of %d bytes, allowed are %d: %w", out, int64(maxPage), ErrLimit)
	case out > freePage && float64(out) > s.limits.Ratio*float64(in):
		return 0, fmt.Errorf("page expands to more than %g times its size: %w", s.limits.Ratio, ErrLimit)
	}
	n := int64(0)
	switch {
	case h.DataPageHeader.Valid:
		n = int64(h.DataPageHeader.V.NumValues)
	case h.DataPageHeaderV2.Valid:
		n = int64(h.DataPageHeaderV2.V.NumValues)
	case h.DictionaryPageHeader.Valid:
		if d := int64(h.DictionaryPageHeader.V.NumValues); d < 0 || d > 8*out {
			return 0, fmt.Errorf("is damaged: dictionary of %d values in %d bytes", d, out)
		}
	}
	if n < 0 || n > rows {
		return 0, fmt.Errorf("is damaged: page of %d values in a group of %d rows", n, rows)
	}
	return n, nil
}
