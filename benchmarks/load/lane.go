package main

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

const (
	connectTimeout = 5 * time.Second
	pause          = 50 * time.Millisecond
)

// lane is a place for a connection: when that is lost, the next call makes another.
type lane struct {
	options options
	headers headers

	mu      sync.Mutex
	current *connection
	dialing bool
	waiting []*call
}

// connect makes the first connection.
func (l *lane) connect() error {
	made, err := l.dial()
	if err != nil {
		return errSilent
	}
	l.current = made
	return nil
}

func (l *lane) dial() (*connection, error) {
	socket, err := net.DialTimeout("tcp", l.options.Address, connectTimeout)
	if err != nil {
		return nil, err
	}
	_ = socket.SetDeadline(time.Now().Add(connectTimeout))
	if l.options.TLS {
		host, _, _ := net.SplitHostPort(l.options.Address)
		socket = tls.Client(socket, &tls.Config{ServerName: host, NextProtos: []string{"h2"}})
	}
	made := newConnection(socket, l.headers, l.options.Timeout)
	made.lost = l.lost
	if err := made.greet(); err != nil {
		_ = socket.Close()
		return nil, err
	}
	_ = socket.SetDeadline(time.Time{})
	made.start()
	return made, nil
}

// send sends a call, on a new connection if need be.
func (l *lane) send(made *call) {
	made.sent = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil && l.current.send(made) {
		return
	}
	l.waiting = append(l.waiting, made)
	if !l.dialing {
		l.dialing = true
		go l.redial()
	}
}

func (l *lane) redial() {
	current, err := l.dial()
	if err != nil {
		// So that a closed loop does not spin while there is no service.
		time.Sleep(pause)
	}
	l.mu.Lock()
	waiting := l.waiting
	l.current, l.waiting, l.dialing = current, nil, false
	l.mu.Unlock()
	for _, made := range waiting {
		if err == nil {
			l.send(made)
		} else {
			made.fail(silent, "no connection: "+err.Error())
			made.done(made)
		}
	}
}

// lost takes calls back from a connection that takes no more.
func (l *lane) lost(of *connection, unbegun []*call) {
	l.mu.Lock()
	if l.current == of {
		l.current = nil
	}
	l.mu.Unlock()
	for _, made := range unbegun {
		made.id, made.unsent = 0, made.whole
		l.send(made)
	}
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		_ = l.current.socket.Close()
	}
}
