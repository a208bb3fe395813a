package main

import (
	"golang.org/x/net/http2"
)

// read takes in frames until the connection is lost.
func (c *connection) read() {
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			c.die(err)
			return
		}
		c.mu.Lock()
		c.busy = true
		touched, ended := c.take(frame)
		c.mu.Unlock()
		if touched != nil {
			touched.deliver()
		}
		if ended {
			touched.settle()
			touched.done(touched)
		}
		if c.reader.Buffered() > 0 {
			continue
		}
		c.mu.Lock()
		c.busy = false
		_ = c.flush()
		c.mu.Unlock()
	}
}

// take acts on a frame. It returns the call that got something by it, if any, and whether that was the last of it.
func (c *connection) take(frame http2.Frame) (*call, bool) {
	switch frame := frame.(type) {
	case *http2.HeadersFrame:
		c.decoding, c.ending = c.calls[frame.StreamID], frame.StreamEnded()
		return c.fields(frame.HeaderBlockFragment(), frame.HeadersEnded())
	case *http2.ContinuationFrame:
		return c.fields(frame.HeaderBlockFragment(), frame.HeadersEnded())
	case *http2.DataFrame:
		return c.data(frame)
	case *http2.RSTStreamFrame:
		if made := c.calls[frame.StreamID]; made != nil {
			if frame.ErrCode == http2.ErrCodeRefusedStream && made.refused < refusals && made.whole != nil {
				c.again(made)
				return nil, false
			}
			made.fail(codeOfReset(frame.ErrCode), "the stream was reset: "+frame.ErrCode.String())
			c.forget(made)
			return made, true
		}
	case *http2.WindowUpdateFrame:
		c.granted(frame)
	case *http2.SettingsFrame:
		c.settings(frame)
	case *http2.PingFrame:
		if !frame.IsAck() {
			_ = c.framer.WritePing(true, frame.Data)
		}
	case *http2.GoAwayFrame:
		c.leave(frame.LastStreamID)
	}
	return nil, false
}

// again lets a call wait for another try that the service has refused without a look at it: it counts a call as under
// way for a moment longer than we do. Every client of gRPC does so.
func (c *connection) again(made *call) {
	delete(c.calls, made.id)
	made.refused++
	made.unsent = made.whole
	c.waiting = append(c.waiting, made)
}

func (c *connection) fields(block []byte, last bool) (*call, bool) {
	// Also where nobody waits for them: the table that they fill is shared by all that follow.
	_, _ = c.decoder.Write(block)
	if !last {
		return nil, false
	}
	_ = c.decoder.Close()
	return c.finish(c.decoding, c.ending)
}

func (c *connection) finish(made *call, ended bool) (*call, bool) {
	if made == nil || !ended || c.calls[made.id] != made {
		return made, false
	}
	c.forget(made)
	return made, true
}

func (c *connection) data(frame *http2.DataFrame) (*call, bool) {
	length, made := frame.Header().Length, c.calls[frame.StreamID]
	if c.consumed += length; c.consumed > renew {
		_ = c.framer.WriteWindowUpdate(0, c.consumed)
		c.consumed = 0
	}
	if made == nil {
		return nil, false
	}
	made.body = append(made.body, frame.Data()...)
	if made.consumed += length; made.consumed > renew {
		_ = c.framer.WriteWindowUpdate(made.id, made.consumed)
		made.consumed = 0
	}
	return c.finish(made, frame.StreamEnded())
}

func (c *connection) granted(frame *http2.WindowUpdateFrame) {
	if frame.StreamID == 0 {
		c.window += int32(frame.Increment)
	} else if made := c.calls[frame.StreamID]; made != nil {
		made.window += int32(frame.Increment)
	}
	c.unblock()
}

func (c *connection) settings(frame *http2.SettingsFrame) {
	if frame.IsAck() {
		return
	}
	_ = frame.ForeachSetting(func(setting http2.Setting) error {
		switch setting.ID {
		case http2.SettingMaxConcurrentStreams:
			c.most = setting.Val
		case http2.SettingMaxFrameSize:
			c.largest = int32(setting.Val)
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSizeLimit(setting.Val)
		case http2.SettingInitialWindowSize:
			for _, made := range c.calls {
				made.window += int32(setting.Val) - c.initial
			}
			c.initial = int32(setting.Val)
		}
		return nil
	})
	_ = c.framer.WriteSettingsAck()
	c.admit()
	c.unblock()
}

// leave hands the calls over that the service has not begun and will not: another connection may have them. Those
// under way go on here.
func (c *connection) leave(last uint32) {
	unbegun := c.waiting
	c.closing, c.waiting = true, nil
	for id, made := range c.calls {
		if id > last {
			unbegun = append(unbegun, made)
			delete(c.calls, id)
		}
	}
	go c.lost(c, unbegun)
	if len(c.calls) == 0 {
		_ = c.socket.Close()
	}
}

// die fails all calls: the service may have answered them or not.
func (c *connection) die(err error) {
	c.mu.Lock()
	calls, waiting, known := c.calls, c.waiting, c.closing
	c.calls, c.waiting, c.closing, c.busy = map[uint32]*call{}, nil, true, true
	c.mu.Unlock()
	_ = c.socket.Close()
	if !known {
		c.lost(c, waiting)
	}
	for _, made := range calls {
		made.fail(silent, "the connection was lost: "+err.Error())
		made.done(made)
	}
}
