// Counts what comes on stdin, and tells the environment's WHO and the arguments.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"unicode"
)

func main() {
	counts := struct {
		Lines int      `json:"lines"`
		Words int      `json:"words"`
		Bytes int      `json:"bytes"`
		Who   string   `json:"who"`
		Args  []string `json:"args"`
	}{Who: os.Getenv("WHO"), Args: os.Args[1:]}
	reader := bufio.NewReader(os.Stdin)
	for inside := false; ; {
		char, size, err := reader.ReadRune()
		if err != nil {
			break
		}
		counts.Bytes += size
		if char == '\n' {
			counts.Lines++
		}
		space := unicode.IsSpace(char)
		if !space && !inside {
			counts.Words++
		}
		inside = !space
	}
	var text strings.Builder
	if err := json.NewEncoder(&text).Encode(counts); err != nil {
		os.Exit(1)
	}
	os.Stdout.WriteString(text.String())
}
