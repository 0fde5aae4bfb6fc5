package main

import (
	"bufio"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// table is lines of cells. The first line has the headings.
type table [][]string

// write writes the table in columns. On a terminal that is too narrow the named columns are shortened, the first of
// the widest ones first; elsewhere nothing is left out.
func (t table) write(out io.Writer, shorten ...int) error {
	widths := make([]int, len(t[0]))
	for _, line := range t {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(printable(cell)))
		}
	}
	if columns := width(out); columns > 0 {
		fit(widths, columns, shorten)
	}
	w := bufio.NewWriter(out)
	for _, line := range t {
		var b strings.Builder
		for i, cell := range line {
			if i > 0 {
				b.WriteString("  ")
			}
			cell = shortened(printable(cell), widths[i])
			b.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		_, _ = w.WriteString(strings.TrimRight(b.String(), " ") + "\n") // Flush has the error
	}
	return w.Flush()
}

// fit makes columns narrower, down to a width that is still readable.
func fit(widths []int, columns int, shorten []int) {
	const least, gap = 8, 2
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; total > columns; total-- {
		widest := -1
		for _, i := range shorten {
			if widths[i] > least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func shortened(cell string, width int) string {
	if runes := []rune(cell); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return cell
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width is that of the terminal, 0 if there is none.
func width(out io.Writer) int {
	if !terminal(out) {
		return 0
	}
	columns, _, err := term.GetSize(int(out.(*os.File).Fd()))
	if err != nil {
		return 0
	}
	return columns
}
