package main

import "math"

// The network: 784-100-10, identity, ELU, softmax. A layer's weights are an (inputs + 1, outputs) array in C order, the
// bias unit's row last; the two layers follow one another in one vector.
const (
	pixels     = 784
	hidden     = 100
	classes    = 10
	split      = (pixels + 1) * hidden // where the second layer begins
	parameters = split + (hidden+1)*classes
)

// settings are those of mpinn.train that have the same names.
type settings struct {
	learningRate, l1, l2, alpha float64
}

// A learner is a worker's: it learns worker batches, and its weights, (parameters), are what it learned.
type learner interface {
	learn(master []float32, images []byte, labels []int32, exemplars []int32)
	weights() []float32
}

// A sparseLearner does as mpinn's native kernel does: only what is lit, and what is dark when it is next lit.
type sparseLearner struct {
	w        []float32
	eta      float32
	alpha    float32
	lost     []float32       // k -> share of a weight that k shrinks take away
	off      []float32       // k -> and what they take away besides
	since    [pixels + 1]int // first-layer row -> exemplars of the batch whose shrinks it has had
	lit      []int           // first-layer rows that this exemplar touches
	input    [pixels + 1]float32
	phi      [hidden + 1]float32
	delta    [hidden]float32
	output   [classes]float32
	outDelta [classes]float32
}

func newSparseLearner(s settings, batch int) *sparseLearner {
	l := &sparseLearner{
		w:     make([]float32, parameters),
		eta:   float32(s.learningRate),
		alpha: float32(s.alpha),
		lit:   make([]int, 0, pixels+1),
	}
	l.input[pixels] = 1
	l.phi[hidden] = 1
	a1, a2 := s.learningRate*s.l1, s.learningRate*s.l2
	for k := 0; k <= batch; k++ {
		lost := -math.Expm1(float64(k) * math.Log1p(-a2))
		off := a1 * float64(k)
		if a2 > 0 {
			off = a1 * lost / a2
		}
		l.lost = append(l.lost, float32(lost))
		l.off = append(l.off, float32(off))
	}
	return l
}

func (l *sparseLearner) weights() []float32 { return l.w }

// learn starts from the master weights and learns a worker batch, one exemplar after another. A dark pixel's row of
// weights is only shrunk, and k shrinks have a closed form: so a row is touched when its pixel is lit, and at the end.
func (l *sparseLearner) learn(master []float32, images []byte, labels []int32, exemplars []int32) {
	copy(l.w, master)
	l.since = [pixels + 1]int{}
	for t, exemplar := range exemplars {
		l.think(images[int(exemplar)*pixels:][:pixels], t)
		l.train(int(labels[exemplar]), t)
	}
	for i := range l.since {
		lost, off := l.owed(i, len(exemplars))
		row := l.row(i)
		for j, w := range row {
			row[j] = shrunk(w, lost, off)
		}
	}
}

// think is the forward pass of exemplar t.
func (l *sparseLearner) think(image []byte, t int) {
	l.lit = l.lit[:0]
	for i, grey := range image {
		if grey != 0 {
			l.input[i] = float32(grey) / (pixels + 1)
			l.lit = append(l.lit, i)
		}
	}
	l.lit = append(l.lit, pixels)
	var net [hidden]float32
	for _, i := range l.lit {
		lost, off := l.owed(i, t)
		x := l.input[i]
		for j, w := range l.row(i) {
			net[j] += x * shrunk(w, lost, off)
		}
	}
	for j, x := range net {
		x /= hidden + 1
		if x <= 0 {
			x = l.alpha * float32(math.Expm1(float64(x)))
		}
		l.phi[j] = x
	}
	l.output = [classes]float32{}
	for j, phi := range l.phi {
		for k, w := range l.outRow(j) {
			l.output[k] += phi * w
		}
	}
	softmax(&l.output)
}

// train is the backward pass and the update; a layer's delta is made with the weights as they were before.
func (l *sparseLearner) train(label, t int) {
	for k, phi := range l.output {
		target := float32(0)
		if k == label {
			target = 1
		}
		l.outDelta[k] = (target - phi) * phi * (1 - phi)
	}
	for j, phi := range l.phi {
		row := l.outRow(j)
		if j < hidden {
			sum := float32(0)
			for k, w := range row {
				sum += w * l.outDelta[k]
			}
			if phi <= 0 {
				sum *= phi + l.alpha
			}
			l.delta[j] = sum
		}
		step := l.eta * phi
		for k, delta := range l.outDelta {
			row[k] = shrunk(row[k], l.lost[1], l.off[1]) + step*delta
		}
	}
	for _, i := range l.lit {
		lost, off := l.owed(i, t+1)
		l.since[i] = t + 1
		row, step := l.row(i), l.eta*l.input[i]
		for j, delta := range l.delta {
			row[j] = shrunk(row[j], lost, off) + step*delta
		}
	}
}

// owed is what a first-layer row has yet to be shrunk by, of the shrinks of the batch's first t exemplars.
func (l *sparseLearner) owed(i, t int) (lost, off float32) {
	k := t - l.since[i]
	return l.lost[k], l.off[k]
}

// row is a view of a first-layer row of weights, outRow of a second-layer one.
func (l *sparseLearner) row(i int) *[hidden]float32 {
	return (*[hidden]float32)(l.w[i*hidden:])
}

func (l *sparseLearner) outRow(j int) *[classes]float32 {
	return (*[classes]float32)(l.w[split+j*classes:])
}

// shrunk is (1 - lost) w - off sgn(w), and 0 where that would change its sign. The small amount is subtracted: in float32
// a multiplication by 1 - lost would lose it to rounding. Signs are bits here, for a branch on a weight's sign is as often
// mispredicted as not.
func shrunk(w, lost, off float32) float32 {
	const signBit = 1 << 31
	bits := math.Float32bits(w)
	size := math.Float32frombits(bits &^ signBit)
	size -= lost*size + off
	if size < 0 {
		size = 0
	}
	return math.Float32frombits(math.Float32bits(size) | bits&signBit)
}

// softmax divides by the layer's size and makes e^z / sum(e^z), over z - max(z).
func softmax(z *[classes]float32) {
	top := z[0]
	for _, x := range z {
		if x > top {
			top = x
		}
	}
	sum := float32(0)
	for k, x := range z {
		z[k] = float32(math.Exp(float64((x - top) / classes)))
		sum += z[k]
	}
	for k := range z {
		z[k] /= sum
	}
}
