package main

import (
	"fmt"
	"strings"
	"syscall"
)

// answer is the line on standard output that follows each command.
type answer struct {
	Done string `json:"done,omitempty"`
	// Pid is the new one, after a start.
	Pid   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
}

// obey carries out one command, for tests of what happens when a part of the control plane hangs, crashes and
// comes back. A command that makes no sense is answered with an error; a component that does not come back ends
// the supervisor, as its death at any other time would.
//
// A start is done when the component is ready, which says nothing of the others: controllers that have missed the
// API server for long look for it again only every half minute. Restarting them too is quicker than waiting.
func (s *supervisor) obey(line string) (answer, error) {
	refuse := func(format string, values ...any) (answer, error) {
		return answer{Error: fmt.Sprintf(format, values...)}, nil
	}
	verb, name, _ := strings.Cut(strings.TrimSpace(line), " ")
	c := s.named(name)
	if c == nil {
		return refuse("%q: want stop|cont|kill|start and one of %s", line, strings.Join(s.names(), ", "))
	}
	if running := c.running != nil; running == (verb == "start") {
		return refuse("%q: running is %t", line, running)
	}

	done := answer{Done: verb + " " + name}
	switch verb {
	case "stop":
		c.running.signal(syscall.SIGSTOP)
	case "cont":
		c.running.signal(syscall.SIGCONT)
	case "kill":
		s.kill(c)
	case "start":
		if err := s.start(c); err != nil {
			return answer{}, err
		}
		done.Pid = c.running.pid
	default:
		return refuse("%q: want stop|cont|kill|start", line)
	}
	return done, nil
}

func (s *supervisor) named(name string) *component {
	for _, c := range s.members {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (s *supervisor) names() []string {
	var names []string
	for _, c := range s.members {
		names = append(names, c.name)
	}
	return names
}
