//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A composeFile is what TestCompose knows of docker compose's format. Decoding refuses what
// it doesn't know.
type composeFile struct {
	Name     string
	Image    composeService `yaml:"x-image"`
	Services map[string]*composeService
	Volumes  map[string]any
	Networks map[string]any
	Secrets  map[string]struct{ File string }
}

type composeService struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Command     words
	Environment map[string]string
	Ports       []string
	Volumes     []string
	Tmpfs       []string
	Secrets     []string
	DependsOn   []string `yaml:"depends_on"`
	NetworkMode string   `yaml:"network_mode"`
	Networks    networks
	Healthcheck struct{ Disable bool }
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Restart     string
	Extends     struct{ File, Service string }
}

// networks are those of a service: a list, or with settings.
type networks map[string]struct{ Aliases []string }

func (n *networks) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.SequenceNode {
		return node.Decode((*map[string]struct{ Aliases []string })(n))
	}
	*n = networks{}
	for _, name := range node.Content {
		(*n)[name.Value] = struct{ Aliases []string }{}
	}
	return nil
}

// words are a command: a list, or a text that is split at blanks.
type words []string

func (w *words) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return n.Decode((*[]string)(w))
	}
	*w = strings.Fields(n.Value)
	return nil
}

func readCompose(file string) (*composeFile, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c := &composeFile{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for name, s := range c.Services {
		if s.Extends.File == "" {
			continue
		}
		other, err := readCompose(filepath.Join(filepath.Dir(file), s.Extends.File))
		if err != nil {
			return nil, err
		}
		c.Services[name] = other.Services[s.Extends.Service]
	}
	return c, nil
}
