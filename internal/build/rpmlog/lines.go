package rpmlog

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// logLines is how many of a log's last lines are read.
const logLines = 2000

// Tail reads the last lines of a log, each cut to what a record can carry. A log that is not there has none.
func Tail(path string) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	const window = 1 << 20
	if size, err := f.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	} else if _, err := f.Seek(max(0, size-window), io.SeekStart); err != nil {
		return nil, err
	}
	return Lines(f, logLines), nil
}

// escapes are the colours of terminals.
var escapes = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// Lines keeps the last n lines of r, as valid UTF-8 of a bounded length and without colours.
func Lines(r io.Reader, n int) []string {
	const longest = 500
	var lines []string
	s := bufio.NewReaderSize(r, 4096)
	for {
		line, more, err := s.ReadLine()
		if err != nil {
			return lines
		}
		text := strings.ToValidUTF8(string(line[:min(len(line), longest)]), "\uFFFD")
		if strings.Contains(text, "\x1b") {
			text = escapes.ReplaceAllString(text, "")
		}
		for more && err == nil { // the rest of a very long line
			_, more, err = s.ReadLine()
		}
		if lines = append(lines, strings.TrimRight(text, "\r")); len(lines) > n {
			lines = lines[1:]
		}
	}
}
