package stats

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// MaxAxes bounds the principal axes of a Projection. Up to that many dimensions
// all of them are kept: a change along an axis that is not kept shows only in
// the residual, and one of a small variance hardly there.
const MaxAxes = 64

// A Projection turns a vector into numbers that can be watched one by one, so
// that a change of the vectors shows that no single component shows: the
// coordinates on the principal axes of a sample, what these leave (residual),
// the Mahalanobis distance squared, and the cosine to the sample's centroid or,
// of standardised vectors, the length. It is immutable.
//
// Axes of sample i of N are found in that sample, in which they fit better than
// in any other: compare new vectors with others than it was learned from.
type Projection struct {
	dim          int
	standardised bool
	mean, scale  []float64 // per component; scale is 1 unless standardised
	axes         []float64 // orthonormal rows of dim, by falling variance
	variance     []float64 // of each axis
	total        float64   // variance of all components
	length       float64   // of mean
}

// NewProjection learns a projection from rows of dim components, one after the
// other. standardise divides each component by its standard deviation, for
// components of different units. The rows are overwritten.
//
// Special cases are: nil for fewer than 3 rows, for rows that are all equal and
// for values that are not finite; axes without variance are left out.
func NewProjection(rows []float64, dim int, standardise bool) *Projection {
	n := 0
	if dim > 0 {
		n = len(rows) / dim
	}
	if n < 3 {
		return nil
	}
	p := &Projection{dim: dim, standardised: standardise, mean: make([]float64, dim), scale: make([]float64, dim)}
	p.center(rows)
	z := mat.NewDense(n, dim, rows[:n*dim])
	for i := range n {
		row := z.RawRowView(i)
		floats.Sub(row, p.mean)
		floats.Div(row, p.scale)
		p.total += floats.Dot(row, row) / float64(n-1)
	}
	if !(p.total > 0) || math.IsInf(p.total, 1) {
		return nil
	}
	if dim <= exactDim {
		p.exact(z)
	} else {
		p.iterate(z)
	}
	if p.Axes() == 0 {
		return nil
	}
	p.length = floats.Norm(p.mean, 2)
	return p
}

// center finds mean and scale, as float32: so they are stored.
func (p *Projection) center(rows []float64) {
	n := len(rows) / p.dim
	for i := range n {
		floats.AddScaled(p.mean, 1/float64(n), rows[i*p.dim:(i+1)*p.dim])
	}
	roundAll(p.mean)
	for k := range p.scale {
		p.scale[k] = 1
		if !p.standardised {
			continue
		}
		squares := 0.0
		for i := range n {
			d := rows[i*p.dim+k] - p.mean[k]
			squares += d * d
		}
		if sd := round32(math.Sqrt(squares / float64(n-1))); sd > 0 {
			p.scale[k] = sd
		}
	}
}

func round32(x float64) float64 { return float64(float32(x)) }

func roundAll(x []float64) {
	for i := range x {
		x[i] = round32(x[i])
	}
}

// exactDim is the dimension up to which the covariance matrix is decomposed. It
// takes some 0.3 s for 256 of them; above, iteration finds the axes that count.
const exactDim = 256

// exact finds all axes by the eigenvectors of the covariance.
func (p *Projection) exact(z *mat.Dense) {
	n, _ := z.Dims()
	cov := mat.NewSymDense(p.dim, nil)
	cov.SymOuterK(1/float64(n-1), z.T())
	p.keep(cov, nil)
}

// iterate finds the first axes by subspace iteration from rows of the sample
// (Halko, Martinsson and Tropp, SIAM Review 53(2), 2011, with rows instead of
// random directions, so that the result depends on the sample alone).
func (p *Projection) iterate(z *mat.Dense) {
	const spare, rounds = 8, 3
	n, _ := z.Dims()
	k := min(MaxAxes+spare, n)
	basis := mat.NewDense(k, p.dim, nil)
	for i := range k {
		basis.SetRow(i, z.RawRowView(i*n/k))
	}
	var y mat.Dense
	for range rounds {
		orthonormalise(basis)
		y.Mul(z, basis.T())
		basis.Mul(y.T(), z)
	}
	orthonormalise(basis)
	y.Mul(z, basis.T())
	cov := mat.NewSymDense(k, nil)
	cov.SymOuterK(1/float64(n-1), y.T())
	p.keep(cov, basis)
}

// orthonormalise makes the rows orthonormal, by Gram and Schmidt twice over; a
// row within the space of those above it becomes 0.
func orthonormalise(m *mat.Dense) {
	rows, _ := m.Dims()
	for i := range rows {
		row := m.RawRowView(i)
		before := floats.Norm(row, 2)
		for range 2 {
			for j := range i {
				above := m.RawRowView(j)
				floats.AddScaled(row, -floats.Dot(row, above), above)
			}
		}
		scale := 0.0
		if length := floats.Norm(row, 2); length > 1e-12*before {
			scale = 1 / length
		}
		floats.Scale(scale, row)
	}
}

// keep takes the axes of the largest eigenvalues of cov, which is in terms of
// the rows of basis; nil stands for the components themselves.
func (p *Projection) keep(cov *mat.SymDense, basis *mat.Dense) {
	const negligible = 1e-10 // of the largest variance: no axis but a rounding error
	var eigen mat.EigenSym
	if !eigen.Factorize(cov, true) {
		return // not for a finite matrix
	}
	values := eigen.Values(nil) // ascending
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	if basis != nil {
		var turned mat.Dense
		turned.Mul(basis.T(), &vectors)
		vectors = turned
	}
	largest := values[len(values)-1]
	for i := len(values) - 1; i >= 0 && len(p.variance) < MaxAxes && values[i] > negligible*largest; i-- {
		axis := mat.Col(nil, i, &vectors)
		if strongest := axis[floats.MaxIdx(absolute(axis))]; strongest < 0 { // the sign is free: fix it
			floats.Scale(-1, axis)
		}
		roundAll(axis)
		p.axes, p.variance = append(p.axes, axis...), append(p.variance, values[i])
	}
}

func absolute(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = math.Abs(v)
	}
	return out
}

// Dim returns the number of components of a vector.
func (p *Projection) Dim() int { return p.dim }

// Axes returns the number of principal axes kept.
func (p *Projection) Axes() int { return len(p.variance) }

// Kept returns the share of the sample's variance along the axes kept, in
// (0, 1]. What lies in the rest is seen as an amount only, in the residual.
func (p *Projection) Kept() float64 {
	if !p.residual() {
		return 1 // but for rounding
	}
	return min(1, floats.Sum(p.variance)/p.total)
}

// Names says what the numbers of Apply are: "1", "2", ... are the coordinates
// on the axes, by falling variance.
func (p *Projection) Names() []string {
	var names []string
	for i := range p.Axes() {
		names = append(names, strconv.Itoa(i+1))
	}
	if p.residual() {
		names = append(names, "residual")
	}
	names = append(names, "mahalanobis")
	if p.standardised {
		return append(names, "norm")
	}
	return append(names, "cosine")
}

// residual tells whether the axes leave anything.
func (p *Projection) residual() bool { return p.Axes() < p.dim }

// Apply puts the numbers that Names names into out, of that length, and
// overwrites scratch, of Dim. It reports whether they are finite; x must have
// Dim components. It does not allocate.
func (p *Projection) Apply(out, scratch, x []float64) bool {
	k := p.Axes()
	copy(scratch, x)
	floats.Sub(scratch, p.mean)
	if p.standardised {
		floats.Div(scratch, p.scale)
	}
	blas64.Gemv(blas.NoTrans, 1, blas64.General{Rows: k, Cols: p.dim, Stride: p.dim, Data: p.axes},
		blas64.Vector{N: p.dim, Inc: 1, Data: scratch}, 0, blas64.Vector{N: k, Inc: 1, Data: out})
	var kept, distance float64
	for i, y := range out[:k] {
		kept += y * y
		distance += y * y / p.variance[i]
	}
	squares := floats.Dot(scratch, scratch)
	if p.residual() {
		out[k] = math.Sqrt(max(0, squares-kept))
		k++
	}
	out[k] = distance
	out[k+1] = math.Sqrt(squares)
	if !p.standardised {
		out[k+1] = p.cosine(x)
	}
	return !math.IsNaN(distance+squares) && !math.IsInf(distance+squares, 1)
}

// cosine returns the cosine of the angle between x and the centroid, 0 where
// one of them has no direction.
func (p *Projection) cosine(x []float64) float64 {
	length := floats.Norm(x, 2)
	if length == 0 || p.length == 0 {
		return 0
	}
	return floats.Dot(x, p.mean) / length / p.length
}

// AppendProjection writes a projection:
//
//	dimension, axes      varints
//	flags                1 byte: bit 0 standardised
//	mean                 a float32 for each component
//	scale                likewise, if standardised
//	axes                 likewise, one after the other
//	variances, total     float64
//
// Numbers are big-endian.
func AppendProjection(b []byte, p *Projection) []byte {
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(p.dim)), uint64(p.Axes()))
	if p.standardised {
		b = appendFloats32(append(b, 1), p.mean, p.scale, p.axes)
	} else {
		b = appendFloats32(append(b, 0), p.mean, p.axes)
	}
	for _, v := range p.variance {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(v))
	}
	return binary.BigEndian.AppendUint64(b, math.Float64bits(p.total))
}

func appendFloats32(b []byte, lists ...[]float64) []byte {
	for _, list := range lists {
		for _, x := range list {
			b = binary.BigEndian.AppendUint32(b, math.Float32bits(float32(x)))
		}
	}
	return b
}

// maxDim bounds the dimension of a projection that is read.
const maxDim = 1 << 16

var errProjection = fmt.Errorf("decode projection: %w", ErrCodec)

// DecodeProjection reads what AppendProjection wrote, and returns what follows.
func DecodeProjection(b []byte) (p *Projection, rest []byte, err error) {
	dim, n := binary.Uvarint(b)
	if n <= 0 || dim == 0 || dim > maxDim {
		return nil, nil, errProjection
	}
	axes, m := binary.Uvarint(b[n:])
	if b = b[n+max(m, 0):]; m <= 0 || axes == 0 || axes > min(dim, MaxAxes) || len(b) == 0 || b[0] > 1 {
		return nil, nil, errProjection
	}
	p = &Projection{dim: int(dim), standardised: b[0] == 1, scale: make([]float64, dim)}
	b = b[1:]
	for k := range p.scale {
		p.scale[k] = 1
	}
	p.mean, b = cutFloats32(b, p.dim)
	if p.standardised {
		p.scale, b = cutFloats32(b, p.dim)
	}
	p.axes, b = cutFloats32(b, p.dim*int(axes))
	if len(p.mean)+len(p.scale)+len(p.axes) != p.dim*(2+int(axes)) || len(b) < 8*(int(axes)+1) {
		return nil, nil, errProjection
	}
	for range axes {
		p.variance = append(p.variance, math.Float64frombits(binary.BigEndian.Uint64(b)))
		b = b[8:]
	}
	p.total = math.Float64frombits(binary.BigEndian.Uint64(b))
	p.length = floats.Norm(p.mean, 2)
	if !p.sound() {
		return nil, nil, errProjection
	}
	return p, b[8:], nil
}

// sound tells whether the numbers can be those of a projection.
func (p *Projection) sound() bool {
	for _, v := range append([]float64{p.total}, append(p.variance, p.scale...)...) {
		if !(v > 0) || math.IsInf(v, 1) {
			return false
		}
	}
	amount := floats.Norm(p.mean, 1) + floats.Norm(p.axes, 1)
	return !math.IsNaN(amount) && !math.IsInf(amount, 1)
}

// cutFloats32 returns the first n numbers and the rest, nil and b if there are
// fewer.
func cutFloats32(b []byte, n int) (out []float64, rest []byte) {
	if len(b) < 4*n {
		return nil, b
	}
	out = make([]float64, n)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.BigEndian.Uint32(b[4*i:])))
	}
	return out, b[4*n:]
}
