package api

import (
	"net/http"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/detect"
)

// A budgetItem is one budget of /api/v1/budgets.
type budgetItem struct {
	Name     string      `json:"name"`
	Receiver string      `json:"receiver"`
	Pages    float64     `json:"pages"` // false pages that its people can bear in a period
	Per      string      `json:"per"`
	Models   int         `json:"models"`
	Spent    int         `json:"spent"`    // pages in the last period of event time, false or not
	Left     float64     `json:"left"`     // at least 0
	Drawn    []spentItem `json:"drawn"`    // the pages, oldest first
	OnTrial  bool        `json:"on_trial"` // notify: shadow; nobody is told
	Shadow   []spentItem `json:"shadow"`   // what would have been pages while it was on trial, oldest first
}

type spentItem struct {
	At    time.Time `json:"at"`
	Model string    `json:"model"`
	Rule  string    `json:"rule"`
}

// left returns what the budget's people may still be paged for.
func (b *Budget) left() float64 { return max(0, b.Pages-float64(len(b.Spent))) }

func spentItems(pages []SpentPage) []spentItem {
	out := make([]spentItem, 0, len(pages))
	for _, p := range pages {
		out = append(out, spentItem(p))
	}
	return out
}

func (s *Server) getBudgets(w http.ResponseWriter, _ *request) error {
	return sendJSON(w, http.StatusOK, newList(budgetItems(s.Reader.Snapshot()), ""))
}

func budgetItems(snapshot *Snapshot) []budgetItem {
	items := []budgetItem{}
	for i := range snapshot.Budgets {
		b := &snapshot.Budgets[i]
		item := budgetItem{
			Name: b.Name, Receiver: b.Receiver, Pages: b.Pages, Per: formatDuration(b.Per), Models: b.Models, Spent: len(b.Spent), Left: b.left(), OnTrial: b.OnTrial,
			Drawn: spentItems(b.Spent), Shadow: spentItems(b.Shadow),
		}
		items = append(items, item)
	}
	return items
}

// A detectionItem is how the drift of a model is judged.
type detectionItem struct {
	Budget  string         `json:"budget"`
	Pages   float64        `json:"pages"` // that its drift may cost in a period
	Per     string         `json:"per"`
	State   string         `json:"state"`   // "no_baseline", "reference" or "judging"
	Missing int            `json:"missing"` // windows until what is normal is known
	Status  *detect.Status `json:"status"`  // null without a baseline
}

// states of a detection.
const (
	detectionWaits     = "no_baseline"
	detectionReference = "reference"
	detectionJudging   = "judging"
)

func newDetectionItem(d *Drift) *detectionItem {
	if d == nil {
		return nil
	}
	item := &detectionItem{Budget: d.Budget, Pages: d.Config.Pages, Per: formatDuration(d.Config.Per), State: detectionWaits, Status: d.Status}
	switch {
	case d.Status == nil:
	case d.Status.Judging:
		item.State = detectionJudging
	default:
		item.State, item.Missing = detectionReference, d.Status.Reference-d.Status.Windows
	}
	return item
}

// getDetectors lists a model's detectors by signal and component.
func (s *Server) getDetectors(w http.ResponseWriter, r *request) error {
	m, err := s.model(r)
	if err != nil {
		return err
	}
	limit, err := r.number("limit", 1000, 1, 10_000)
	if err != nil {
		return err
	}
	from, err := r.number("cursor", 0, 0, 1<<32)
	if err != nil {
		return err
	}
	var all []detect.Standing
	if m.Drift != nil {
		all = m.Drift.Standings
	}
	first := min(from, uint64(len(all)))
	last := min(first+limit, uint64(len(all)))
	next := ""
	if last < uint64(len(all)) {
		next = strconv.FormatUint(last, 10)
	}
	return sendJSON(w, http.StatusOK, newList(nonNil(all[first:last]), next))
}

// budgetFamilies are the metrics of budgets.
func budgetFamilies() []Family {
	of := func(value func(*Budget) float64) func(*scrape, emitter) {
		return func(s *scrape, emit emitter) {
			for i := range s.Budgets {
				emit(value(&s.Budgets[i]), s.Budgets[i].Name)
			}
		}
	}
	return []Family{
		{
			Name: "driftd_budget_pages", Type: "gauge", Help: "False pages that a budget allows in its period.", Labels: []string{"budget"},
			series: of(func(b *Budget) float64 { return b.Pages }),
		},
		{
			Name: "driftd_budget_spent_pages", Type: "gauge", Help: "Pages drawn from a budget in the last period of event time, false or not.", Labels: []string{"budget"},
			series: of(func(b *Budget) float64 { return float64(len(b.Spent)) }),
		},
		{
			Name: "driftd_reference_windows_missing", Type: "gauge", Help: "Windows until it is known what is normal for a model with a budget; until then only hard limits page.", Labels: []string{"model"},
			series: func(s *scrape, emit emitter) {
				for i := range s.Models {
					if item := newDetectionItem(s.Models[i].Drift); item != nil && item.State != detectionWaits {
						emit(float64(item.Missing), s.Models[i].Model)
					}
				}
			},
		},
		{
			Name: "driftd_drift_incidents", Type: "gauge", Help: "Open incidents of drift that was found within a budget, by severity.", Labels: []string{"severity"},
			series: func(s *scrape, emit emitter) {
				open := map[string]uint64{detect.Page.String(): 0, detect.Ticket.String(): 0}
				for i := range s.Models {
					if d := s.Models[i].Drift; d != nil && d.Status != nil && d.Status.Incident != nil {
						open[d.Status.Incident.Level.String()]++
					}
				}
				emitSorted(open, emit)
			},
		},
	}
}
