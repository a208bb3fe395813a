package main

import (
	"syscall"
	"time"
)

const prSetTimerSlack = 29

// setTimerSlack asks the kernel to wake this thread on time, where it may otherwise be 50 microseconds late.
func setTimerSlack() { _, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0) }

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
