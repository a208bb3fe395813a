package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strings"

	"google.golang.org/grpc/codes"
)

// testCase is a case with its rules expanded.
type testCase struct {
	Group    string            `json:"group"`
	Name     string            `json:"name"`
	RPC      string            `json:"rpc"`
	Service  string            `json:"service"`
	Only     string            `json:"only"`
	Metadata map[string]string `json:"metadata"`
	Request  any               `json:"request"`
	Requests []any             `json:"requests"`
	Ignore   []string          `json:"ignore"`
	Trailing map[string]string `json:"trailing"`
	Reply    any               `json:"reply"`
	Error    map[string]any    `json:"error"`
}

// codeNames are the codes by the names that the cases have for them.
var codeNames = map[codes.Code]string{
	codes.OK: "OK", codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN",
	codes.InvalidArgument: "INVALID_ARGUMENT", codes.DeadlineExceeded: "DEADLINE_EXCEEDED",
	codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
	codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
	codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
	codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
}

func readCases(path string) ([]testCase, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	document, err := decoded(text)
	if err != nil {
		return nil, err
	}
	fields := document.(map[string]any)
	written := expanded(fields["cases"], fields["definitions"].(map[string]any))
	var cases []testCase
	decoder := json.NewDecoder(bytes.NewReader(encoded(written)))
	decoder.UseNumber()
	if err := decoder.Decode(&cases); err != nil {
		return nil, err
	}
	for i := range cases {
		if cases[i].Service == "" {
			cases[i].Service = "standard"
		}
	}
	return cases, nil
}

// decoded is a JSON text as a tree; numbers keep their digits.
func decoded(text []byte) (any, error) {
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err := decoder.Decode(&tree)
	return tree, err
}

func encoded(tree any) []byte {
	if tree == nil {
		return []byte("{}")
	}
	text, err := json.Marshal(tree)
	if err != nil {
		fail(err)
	}
	return text
}

// expanded has what the rules use, join and repeat stand for in their place.
func expanded(value any, definitions map[string]any) any {
	switch value := value.(type) {
	case []any:
		items := make([]any, len(value))
		for i, item := range value {
			items[i] = expanded(item, definitions)
		}
		return items
	case map[string]any:
		if name, ok := value["use"].(string); ok {
			return definitions[name]
		}
		fields := make(map[string]any, len(value))
		for key, item := range value {
			fields[key] = expanded(item, definitions)
		}
		if texts, ok := fields["join"].([]any); ok {
			return joined(texts)
		}
		if items, ok := fields["repeat"].([]any); ok {
			return repeated(items, fields["times"].(json.Number))
		}
		return fields
	}
	return value
}

func joined(texts []any) string {
	var whole strings.Builder
	for _, text := range texts {
		whole.WriteString(text.(string))
	}
	return whole.String()
}

func repeated(items []any, times json.Number) []any {
	count, err := times.Int64()
	if err != nil {
		fail(err)
	}
	var all []any
	for range count {
		all = append(all, items...)
	}
	return all
}

// difference says where two trees first differ, doubles by their bits; it is empty where they are the same.
func difference(path string, wanted, got any) string {
	switch wanted := wanted.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			return differentFields(path, wanted, got)
		}
	case []any:
		if got, ok := got.([]any); ok {
			return differentItems(path, wanted, got)
		}
	}
	if a, ok := bits(wanted); ok {
		if b, ok := bits(got); ok && a == b {
			return ""
		}
	} else if wanted == got {
		return ""
	}
	return fmt.Sprintf("%s: %.200v instead of %.200v", path, got, wanted)
}

func differentFields(path string, wanted, got map[string]any) string {
	keys := []string{}
	for key := range wanted {
		keys = append(keys, key)
	}
	for key := range got {
		if _, both := wanted[key]; !both {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	for _, key := range keys {
		if found := difference(path+"."+key, wanted[key], got[key]); found != "" {
			return found
		}
	}
	return ""
}

func differentItems(path string, wanted, got []any) string {
	if len(wanted) != len(got) {
		return fmt.Sprintf("%s: %d items instead of %d", path, len(got), len(wanted))
	}
	for i := range wanted {
		if found := difference(fmt.Sprintf("%s[%d]", path, i), wanted[i], got[i]); found != "" {
			return found
		}
	}
	return ""
}

func bits(value any) (uint64, bool) {
	switch value := value.(type) {
	case json.Number:
		number, err := value.Float64()
		return math.Float64bits(number), err == nil
	case float64:
		return math.Float64bits(value), true
	}
	return 0, false
}
