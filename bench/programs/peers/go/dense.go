package main

import "math"

// A denseLearner does what the formulas say and no more: every weight of every layer, for every exemplar.
type denseLearner struct {
	settings
	w        []float32
	input    [pixels + 1]float32
	phi      [hidden + 1]float32
	delta    [hidden]float32
	output   [classes]float32
	outDelta [classes]float32
}

func newDenseLearner(s settings) *denseLearner {
	l := &denseLearner{settings: s, w: make([]float32, parameters)}
	l.input[pixels] = 1
	l.phi[hidden] = 1
	return l
}

func (l *denseLearner) weights() []float32 { return l.w }

func (l *denseLearner) learn(master []float32, images []byte, labels []int32, exemplars []int32) {
	copy(l.w, master)
	for _, exemplar := range exemplars {
		for i, grey := range images[int(exemplar)*pixels:][:pixels] {
			l.input[i] = float32(grey) / (pixels + 1)
		}
		l.think()
		l.train(int(labels[exemplar]))
	}
}

func (l *denseLearner) think() {
	var net [hidden]float32
	for i, x := range l.input {
		for j, w := range l.w[i*hidden : (i+1)*hidden] {
			net[j] += x * w
		}
	}
	for j, x := range net {
		x /= hidden + 1
		if x <= 0 {
			x = float32(l.alpha * math.Expm1(float64(x)))
		}
		l.phi[j] = x
	}
	l.output = [classes]float32{}
	for j, phi := range l.phi {
		for k, w := range l.w[split+j*classes : split+(j+1)*classes] {
			l.output[k] += phi * w
		}
	}
	softmax(&l.output)
}

func (l *denseLearner) train(label int) {
	for k, phi := range l.output {
		target := float32(0)
		if k == label {
			target = 1
		}
		l.outDelta[k] = (target - phi) * phi * (1 - phi)
	}
	for j := range l.delta {
		sum := float32(0)
		for k, w := range l.w[split+j*classes : split+(j+1)*classes] {
			sum += w * l.outDelta[k]
		}
		if l.phi[j] <= 0 {
			sum *= l.phi[j] + float32(l.alpha)
		}
		l.delta[j] = sum
	}
	for j, phi := range l.phi {
		l.step(l.w[split+j*classes:split+(j+1)*classes], phi, l.outDelta[:])
	}
	for i, x := range l.input {
		l.step(l.w[i*hidden:(i+1)*hidden], x, l.delta[:])
	}
}

// step shrinks a row of weights by the elastic net and moves it by eta phi delta.
func (l *denseLearner) step(row []float32, phi float32, delta []float32) {
	lost, off := float32(l.learningRate*l.l2), float32(l.learningRate*l.l1)
	for j, d := range delta {
		w := row[j]
		size := w
		if w < 0 {
			size = -w
		}
		size -= lost*size + off
		if size < 0 {
			size = 0
		}
		if w < 0 {
			size = -size
		}
		row[j] = size + float32(l.learningRate)*phi*d
	}
}
