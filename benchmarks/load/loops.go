package main

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// run is one run of a load: what is asked of whom, how long, and what came back.
type run struct {
	caller    *caller
	customers customers
	recorder  *recorder
	seed      uint64
	until     time.Time // Nothing is sent after it; zero: no such time.
	requests  int64     // No more than these are sent; 0: no such number.
	sent      atomic.Int64
}

// next says whether another request is to be sent at that time.
func (r *run) next(at time.Time) bool {
	if !r.until.IsZero() && !at.Before(r.until) {
		return false
	}
	return r.requests == 0 || r.sent.Add(1) <= r.requests
}

func (r *run) random(stream int) *rand.Rand { return rand.New(rand.NewPCG(r.seed, uint64(stream))) }

// ask sends one request, and says when it has been counted.
func (r *run) ask(lane sender, customer string, meant time.Time, counted func()) {
	body := r.caller.body
	lane.send(&call{customer: customer, unsent: body, whole: body, meant: meant, done: func(made *call) {
		r.recorder.add(made.meant, made.sent, time.Now(), r.caller.judge(made))
		counted()
	}})
}

// closed keeps a number of requests under way on each connection: the next is sent when one is answered, so that the
// service sets the pace. It shows what a service can do, and says little of latency.
func (r *run) closed(connections, inFlight int) {
	var all sync.WaitGroup
	for number := range connections * inFlight {
		all.Add(1)
		random := r.random(number)
		var another func()
		another = func() {
			now := time.Now()
			if !r.next(now) {
				all.Done()
				return
			}
			r.ask(r.caller.lane(number), r.customers.next(random), now, another)
		}
		another()
	}
	all.Wait()
}

// open sends requests at a rate, whether or not earlier ones are answered, as independent callers do. The time of a
// request counts from when it was meant to be sent: one that waited behind a stall, even in here, has had to wait.
func (r *run) open(rate float64, poisson bool, maxInFlight int, start time.Time) {
	// A thread of its own: the runtime's own timers are late by up to a millisecond, the kernel's by little.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	setTimerSlack()
	random, places := r.random(-1), make(chan struct{}, maxInFlight)
	var all sync.WaitGroup
	meant := start
	for number := 0; r.next(meant); number++ {
		sleepUntil(meant)
		places <- struct{}{}
		all.Add(1)
		r.ask(r.caller.lane(number), r.customers.next(random), meant, func() {
			<-places
			all.Done()
		})
		meant = meant.Add(time.Duration(float64(time.Second) / rate * distance(random, poisson)))
	}
	all.Wait()
}

func distance(random *rand.Rand, poisson bool) float64 {
	if poisson {
		return random.ExpFloat64()
	}
	return 1
}

func sleepUntil(at time.Time) {
	if left := time.Until(at); left > 0 {
		duration := syscall.NsecToTimespec(left.Nanoseconds())
		// Woken too early by a signal, a request is early by little.
		_ = syscall.Nanosleep(&duration, nil)
	}
}
