package main

import (
	"net/http"
	"strconv"

	"golang.org/x/net/http2"
)

const (
	okay     = "OK"
	wrong    = "WRONG" // Not a code of gRPC: an answer, but not the right one.
	unknown  = "UNKNOWN"
	silent   = "UNAVAILABLE"
	tooLate  = "DEADLINE_EXCEEDED"
	internal = "INTERNAL"
)

// codes are those of gRPC, by number.
var codes = [...]string{
	okay, "CANCELLED", unknown, "INVALID_ARGUMENT", tooLate, "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", internal, silent,
	"DATA_LOSS", "UNAUTHENTICATED",
}

// codeOf is the code that a trailer's number stands for.
func codeOf(number string) string {
	code, err := strconv.Atoi(number)
	if err != nil || code < 0 || code >= len(codes) {
		return unknown
	}
	return codes[code]
}

// codeOfHTTP is the code of an answer that has none, such as that of a proxy in between, as gRPC's own clients map it.
func codeOfHTTP(status string) string {
	code, _ := strconv.Atoi(status)
	switch code {
	case http.StatusBadRequest:
		return internal
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "UNIMPLEMENTED"
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return silent
	}
	return unknown
}

// codeOfReset is the code of a stream that was cut off, as gRPC's own clients map it.
func codeOfReset(reason http2.ErrCode) string {
	switch reason {
	case http2.ErrCodeRefusedStream:
		return silent
	case http2.ErrCodeCancel:
		return "CANCELLED"
	case http2.ErrCodeEnhanceYourCalm:
		return "RESOURCE_EXHAUSTED"
	case http2.ErrCodeInadequateSecurity:
		return "PERMISSION_DENIED"
	}
	return internal
}
