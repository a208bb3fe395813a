// forecast-grpc-load sends forecast requests to a service and prints what came of them as JSON.
//
// Closed loop (the default): so many requests are always under way. Open loop (--rate): requests go out at fixed
// times, and each one's latency counts from the time that it was meant to go out.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// Exit codes: as the commands of forecast-grpc have them.
const (
	wrongUsage  = 2
	unavailable = 4
)

var errSilent = errors.New("no service answers gRPC there")

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fail(wrongUsage, err)
	}
	measured, err := measure(o)
	if errors.Is(err, errSilent) {
		fail(unavailable, err)
	}
	if err != nil {
		fail(wrongUsage, err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(measured); err != nil {
		fail(1, err)
	}
}

func fail(code int, err error) {
	fmt.Fprintf(os.Stderr, "Error: %v\n", err)
	os.Exit(code)
}

func measure(o options) (*result, error) {
	// One processor serves tens of thousands of calls a second; with more, threads wake each other for each of them,
	// on cores that the service would use. The thread that keeps an open loop's time needs one of its own.
	runtime.GOMAXPROCS(1)
	if o.Rate > 0 || o.StormRate > 0 {
		runtime.GOMAXPROCS(2)
	}
	of, err := newCustomers(o)
	if err != nil {
		return nil, err
	}
	caller, err := newCaller(o)
	if err != nil {
		return nil, err
	}
	defer caller.close()
	if err := caller.connect(); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Address, err)
	}
	if o.WarmUp > 0 {
		warm := o
		warm.Duration, warm.Requests, warm.StormRate = o.WarmUp, 0, 0
		send(warm, caller, of)
	}
	before := processorTime()
	made := send(o, caller, of)
	made.ClientCPUs, made.Settings = since(before), o
	return made, nil
}

// send is the load itself, and beside it the storm, if there is to be one.
func send(o options, caller *caller, of customers) *result {
	start := time.Now()
	r := &run{caller: caller, customers: of, seed: o.Seed, requests: int64(o.Requests)}
	if o.Requests == 0 {
		r.until = start.Add(o.Duration)
	}
	r.recorder = newRecorder(start, r.until)
	storm := startStorm(o, caller, start, r.until)
	loop := "closed"
	switch {
	case o.Stream:
		loop = "stream"
		r.streams(o.Connections, o.InFlight, o.Items)
	case o.Rate > 0:
		loop = "open"
		r.open(o.Rate, o.Poisson, o.MaxInFlight, start)
	default:
		r.closed(o.Connections, o.InFlight)
	}
	made := r.recorder.result(loop)
	made.ForecastsPerS = made.RequestsPerS * float64(o.Items)
	made.Storm = storm()
	return made
}

// startStorm asks, in an open loop beside the load, for customers whom nobody has asked for. What it returns waits
// for its end.
func startStorm(o options, caller *caller, start, until time.Time) func() *result {
	if o.StormRate <= 0 || until.IsZero() {
		return func() *result { return nil }
	}
	// Not from 0: each run has names of its own, so that no run finds what an earlier one has left in a cache.
	first := &atomic.Int64{}
	first.Store(rand.Int64N(1 << 30))
	r := &run{
		caller: caller, seed: o.Seed, until: until, recorder: newRecorder(start, until),
		customers: inTurn{names{pattern: o.StormName, count: 1 << 40}, first},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.open(o.StormRate, o.Poisson, o.MaxInFlight, start)
	}()
	return func() *result {
		<-done
		return r.recorder.result("open")
	}
}
