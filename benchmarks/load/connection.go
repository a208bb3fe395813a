package main

import (
	"bufio"
	"bytes"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	readBuffer  = 64 << 10
	standard    = 65_535    // What HTTP/2 grants before anything is said.
	grant       = 1<<31 - 1 // What we grant: all that there is, for we read at once whatever comes.
	renew       = 1 << 30
	headerTable = 4096
	refusals    = 5
	tendPeriod  = 10 * time.Millisecond
)

// connection is one HTTP/2 connection, with as much of the protocol as calls of gRPC need. A client library has more,
// but takes as long for a call as a quick service does: then it is the client that is measured.
type connection struct {
	socket  net.Conn
	reader  *bufio.Reader
	framer  *http2.Framer // Reads from reader, writes into out.
	decoder *hpack.Decoder
	headers headers
	timeout time.Duration
	lost    func(*connection, []*call) // Called when no more calls are taken, with those that were never begun.

	mu       sync.Mutex
	out      bytes.Buffer // What is not sent yet.
	busy     bool         // Whether the reader is at work: when it is done, it sends what is there.
	block    bytes.Buffer
	encoder  *hpack.Encoder
	calls    map[uint32]*call
	waiting  []*call // Those that are not begun: the service has as many at once as it takes.
	blocked  []*call // Those begun, with something unsent that the service does not take yet.
	nextID   uint32
	most     uint32 // Calls that the service takes at once.
	window   int32  // Bytes that it still takes, of all calls,
	initial  int32  // and of a new one.
	largest  int32  // Bytes of a frame.
	consumed uint32
	closing  bool
	decoding *call // Whose headers are being read,
	ending   bool  // and whether they are its last.
}

func newConnection(socket net.Conn, of headers, timeout time.Duration) *connection {
	c := &connection{
		socket: socket, reader: bufio.NewReaderSize(socket, readBuffer), headers: of, timeout: timeout,
		calls: map[uint32]*call{}, nextID: 1, most: grant, window: standard, initial: standard, largest: 16 << 10,
	}
	c.framer = http2.NewFramer(&c.out, c.reader)
	c.framer.SetReuseFrames()
	c.encoder = hpack.NewEncoder(&c.block)
	c.decoder = hpack.NewDecoder(headerTable, func(field hpack.HeaderField) {
		if c.decoding != nil {
			c.decoding.header(field)
		}
	})
	return c
}

// greet opens the connection, and waits for the service's settings: they say that it speaks HTTP/2, and how much it
// takes.
func (c *connection) greet() error {
	c.out.WriteString(http2.ClientPreface)
	_ = c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: grant},
	)
	_ = c.framer.WriteWindowUpdate(0, grant-standard)
	if err := c.flush(); err != nil {
		return err
	}
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	if settings, is := frame.(*http2.SettingsFrame); is {
		c.settings(settings)
		return c.flush()
	}
	return errSilent
}

// start reads what comes, from now on.
func (c *connection) start() {
	go c.read()
	go c.tend()
}

// flush sends what has been written.
func (c *connection) flush() error {
	if c.out.Len() == 0 {
		return nil
	}
	_, err := c.socket.Write(c.out.Bytes())
	c.out.Reset()
	return err
}

// send begins a call, now or when the service takes another one. It is false where no more are taken here.
func (c *connection) send(made *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.waiting = append(c.waiting, made)
	c.admit()
	c.hurry()
	return true
}

// more sends another part of a call that is open.
func (c *connection) more(made *call, part []byte, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waits := len(made.unsent) > 0
	made.unsent, made.open = append(made.unsent, part...), !last
	if c.calls[made.id] == made && !waits && !c.write(made) {
		c.blocked = append(c.blocked, made)
	}
	c.hurry()
}

// hurry sends what has been written, unless the reader is about to. It will notice if that cannot be sent.
func (c *connection) hurry() {
	if !c.busy {
		_ = c.flush()
	}
}

// admit begins those that wait, as far as the service takes them.
func (c *connection) admit() {
	for len(c.waiting) > 0 && uint32(len(c.calls)) < c.most {
		made := c.waiting[0]
		c.waiting = c.waiting[1:]
		made.on, made.id, made.window, made.sent = c, c.nextID, c.initial, time.Now()
		c.nextID += 2
		c.calls[made.id] = made
		c.block.Reset()
		c.headers.encode(c.encoder, made.customer)
		_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: made.id, BlockFragment: c.block.Bytes(), EndHeaders: true})
		if !c.write(made) {
			c.blocked = append(c.blocked, made)
		}
	}
}

// write writes as much of a call's body as the service takes; it is true where nothing is left.
func (c *connection) write(made *call) bool {
	for {
		room := min(len(made.unsent), int(min(c.largest, made.window, c.window)))
		if room <= 0 && len(made.unsent) > 0 {
			return false
		}
		part := made.unsent[:max(room, 0)]
		made.unsent = made.unsent[len(part):]
		made.window, c.window = made.window-int32(len(part)), c.window-int32(len(part))
		left := len(made.unsent) > 0
		if !left && len(part) == 0 && made.open {
			return true
		}
		_ = c.framer.WriteData(made.id, !left && !made.open, part)
		if !left {
			return true
		}
	}
}

// unblock goes on with the bodies that the service did not take.
func (c *connection) unblock() {
	left := c.blocked[:0]
	for _, made := range c.blocked {
		if c.calls[made.id] == made && !c.write(made) {
			left = append(left, made)
		}
	}
	c.blocked = left
}

// tend ends the calls that take longer than they may, as the service should have, and begins refused ones anew.
func (c *connection) tend() {
	for range time.Tick(tendPeriod) {
		c.mu.Lock()
		before, gone := time.Now().Add(-c.timeout), c.closing && len(c.calls) == 0
		var late []*call
		for id, made := range c.calls {
			if c.timeout > 0 && made.sent.Before(before) {
				made.fail(tooLate, "no answer in time")
				late = append(late, made)
				_ = c.framer.WriteRSTStream(id, http2.ErrCodeCancel)
				c.forget(made)
			}
		}
		c.admit()
		c.hurry()
		c.mu.Unlock()
		for _, made := range late {
			made.done(made)
		}
		if gone {
			return
		}
	}
}

// forget makes room for another call. After a connection's last one it is closed.
func (c *connection) forget(made *call) {
	delete(c.calls, made.id)
	c.admit()
	if c.closing && len(c.calls) == 0 {
		_ = c.socket.Close()
	}
}
