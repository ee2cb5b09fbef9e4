// Peer trains the network of mpinn by exemplar parallelism, as the paper describes it for Go: in every round each of N
// workers, a goroutine, learns the next worker batch from the master weights, and their mean becomes the new master.
//
// It reads from -dir what bench/peers/go.py has written there (little-endian, no headers): images (n, 784) uint8,
// labels (n) int32, weights (parameters) float32, order (epochs, exemplars) int32. It writes there the weights after
// every epoch, learned (epochs, parameters) float32, and prints JSON: the seconds of every epoch, and what ran.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", ".", "directory of the data")
	workers := flag.Int("workers", 1, "workers, a goroutine each")
	batch := flag.Int("worker-batch", 100, "exemplars a worker learns between two merges")
	exemplars := flag.Int("exemplars", 60000, "exemplars of an epoch")
	dense := flag.Bool("dense", false, "every weight for every exemplar")
	var s settings
	flag.Float64Var(&s.learningRate, "learning-rate", 0.8, "eta")
	flag.Float64Var(&s.l1, "l1", 1e-7, "lambda 1 of the elastic net")
	flag.Float64Var(&s.l2, "l2", 1e-7, "lambda 2 of the elastic net")
	flag.Float64Var(&s.alpha, "alpha", 0.5, "alpha of ELU")
	flag.Parse()

	images := read(*dir, "images")
	labels := make([]int32, len(images)/pixels)
	decode(read(*dir, "labels"), labels)
	master := make([]float32, parameters)
	decode(read(*dir, "weights"), master)
	content := read(*dir, "order")
	order := make([]int32, len(content)/4)
	decode(content, order)

	team := make([]learner, *workers)
	for w := range team {
		if *dense {
			team[w] = newDenseLearner(s)
		} else {
			team[w] = newSparseLearner(s, *batch)
		}
	}
	var learned bytes.Buffer
	var seconds []float64
	for ; len(order) > 0; order = order[*exemplars:] {
		start := time.Now()
		epoch(team, *batch, master, images, labels, order[:*exemplars])
		seconds = append(seconds, time.Since(start).Seconds())
		check(binary.Write(&learned, binary.LittleEndian, master))
	}
	check(os.WriteFile(filepath.Join(*dir, "learned"), learned.Bytes(), 0o644))
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"train_seconds": seconds,
		"version":       runtime.Version(),
		"gomaxprocs":    runtime.GOMAXPROCS(0),
	}))
}

// epoch learns the exemplars of one epoch in their order, round by round.
func epoch(team []learner, batch int, master []float32, images []byte, labels, order []int32) {
	workers := len(team)
	for len(order) > 0 {
		round := order[:least(workers*batch, len(order))]
		order = order[len(round):]
		parallel(workers, func(w int) {
			team[w].learn(master, images, labels, slice(round, w, batch))
		})
		parallel(workers, func(w int) { // each merges a part of the vector
			merge(team, batch, round, master, w*parameters/workers, (w+1)*parameters/workers)
		})
	}
}

// merge makes master[first:last] the mean of the workers' weights, each counted by the exemplars it learned.
func merge(team []learner, batch int, round []int32, master []float32, first, last int) {
	counts := make([]float64, len(team))
	weights := make([][]float32, len(team))
	for w, l := range team {
		counts[w] = float64(len(slice(round, w, batch)))
		weights[w] = l.weights()
	}
	for i := first; i < last; i++ {
		sum := 0.0
		for w := range team {
			sum += counts[w] * float64(weights[w][i])
		}
		master[i] = float32(sum / float64(len(round)))
	}
}

// slice is the worker batch of one worker in a round; short, or empty, for the last workers of a short round.
func slice(round []int32, worker, batch int) []int32 {
	return round[least(worker*batch, len(round)):least((worker+1)*batch, len(round))]
}

// parallel runs do(0) to do(n-1), a goroutine each, and waits for all.
func parallel(n int, do func(int)) {
	var all sync.WaitGroup
	all.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) {
			defer all.Done()
			do(i)
		}(i)
	}
	all.Wait()
}

func least(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func read(dir, name string) []byte {
	content, err := os.ReadFile(filepath.Join(dir, name))
	check(err)
	return content
}

func decode(content []byte, into any) {
	check(binary.Read(bytes.NewReader(content), binary.LittleEndian, into))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
