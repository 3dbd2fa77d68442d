package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

const (
	amBatch    = 256 // alerts in one call, as Prometheus has it
	amPatience = 3   // attempts that insist on every replica

	amEvent = 5 * time.Minute // how long something that only happened is shown
)

// AlertmanagerOptions configure an Alertmanager sink.
type AlertmanagerOptions struct {
	URLs        []string // of every replica: they share notifications, not alerts
	ExternalURL string
	// ValidFor is how long Alertmanager believes a firing alert without
	// hearing of it again; 24 h. With Refresh every minute, 4 minutes are
	// enough. When it runs out Alertmanager resolves an alert that may be true.
	ValidFor time.Duration
	Client   *http.Client
}

// Alertmanager pushes to /api/v2/alerts as Prometheus does.
type Alertmanager struct {
	replicas []endpoint
	external string
	validFor time.Duration
}

// NewAlertmanager returns an Alertmanager sink, or says what is wrong with the
// options.
func NewAlertmanager(o AlertmanagerOptions) (*Alertmanager, error) {
	if len(o.URLs) == 0 {
		return nil, errors.New("alertmanager has no url")
	}
	if o.Client == nil {
		o.Client = NewClient(ClientOptions{})
	}
	orDefault(&o.ValidFor, 24*time.Hour)
	am := &Alertmanager{external: o.ExternalURL, validFor: o.ValidFor}
	for i, base := range o.URLs {
		ep, err := newEndpoint(fmt.Sprintf("alertmanager url %d", i+1), base, "/api/v2/alerts", o.Client)
		if err != nil {
			return nil, err
		}
		am.replicas = append(am.replicas, ep)
	}
	return am, nil
}

type amAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// Send implements Sink. It insists on every replica for the first attempts,
// which is harmless to those that have the alert already; after that one that
// accepted is enough, so that a dead replica cannot hold back a resolve.
func (am *Alertmanager) Send(ctx context.Context, d ledger.Delivery) error {
	alert, err := am.alert(d, time.Now())
	if err != nil {
		return err
	}
	accepted, err := am.push(ctx, []amAlert{alert})
	if accepted > 0 && d.Attempt >= amPatience {
		return nil
	}
	return err
}

// Refresh tells every replica again of alerts that are firing: Alertmanager
// keeps them in memory only, and no longer than ValidFor. It is an error if
// any replica missed any of it.
func (am *Alertmanager) Refresh(ctx context.Context, firing []ledger.Delivery) error {
	now := time.Now()
	var errs []error
	batch := make([]amAlert, 0, amBatch)
	for i, d := range firing {
		alert, err := am.alert(d, now)
		if err != nil {
			errs = append(errs, err)
		} else {
			batch = append(batch, alert)
		}
		if len(batch) == amBatch || i == len(firing)-1 && len(batch) > 0 {
			_, err := am.push(ctx, batch)
			errs = append(errs, err)
			batch = batch[:0]
		}
	}
	return errors.Join(errs...)
}

// push posts to all replicas and counts those that accepted. Of several errors
// it returns the one that is worth another attempt.
func (am *Alertmanager) push(ctx context.Context, alerts []amAlert) (accepted int, err error) {
	body, err := encode(alerts)
	if err != nil {
		return 0, err
	}
	var worst *Error
	for i, ep := range am.replicas {
		err := ep.post(ctx, body, nil)
		if err == nil {
			accepted++
			continue
		}
		e := *asError(err)
		if (e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity) && len(alerts) > 1 {
			if e.Err = am.halve(ctx, ep, alerts); e.Err == nil {
				accepted++
				continue
			}
		}
		e.Err = fmt.Errorf("alertmanager %d of %d: %w", i+1, len(am.replicas), e.Err)
		if worst == nil || worst.Permanent && !e.Permanent {
			worst = &e
		}
	}
	if worst == nil {
		return accepted, nil
	}
	return accepted, worst
}

// halve finds the alerts for which a replica refused a batch, so that the others
// arrive. To repeat what it took is harmless.
func (am *Alertmanager) halve(ctx context.Context, ep endpoint, alerts []amAlert) error {
	var errs []error
	middle := len(alerts) / 2
	for _, half := range [][]amAlert{alerts[:middle], alerts[middle:]} {
		body, err := encode(half)
		if err != nil {
			return err
		}
		err = ep.post(ctx, body, nil)
		switch {
		case err == nil:
		case len(half) == 1:
			errs = append(errs, fmt.Errorf("alert %s of model %s: %w", half[0].Labels["alertname"], half[0].Labels["model"], err))
		case asError(err).Permanent:
			errs = append(errs, am.halve(ctx, ep, half))
		default:
			return err // it is down: the rest can wait for the next time
		}
	}
	return errors.Join(errs...)
}

// alert words an entry. Alertmanager refuses an end before the start, and an
// end in its future is "still firing", so a resolve never ends after now.
func (am *Alertmanager) alert(d ledger.Delivery, now time.Time) (amAlert, error) {
	m, err := word(d, am.external, nil)
	if err != nil {
		return amAlert{}, err
	}
	p, err := newPromAlert(d, m)
	if err != nil {
		return amAlert{}, err
	}
	switch {
	case p.resolved && (p.ends.IsZero() || p.ends.After(now)):
		p.ends = now
	case d.Entry.Kind != ledger.KindAlert && p.ends.IsZero():
		p.ends = now.Add(amEvent)
	case !p.resolved && p.ends.IsZero():
		p.ends = now.Add(am.validFor)
	}
	if p.starts.After(p.ends) {
		p.starts = p.ends
	}
	a := amAlert{Labels: p.labels, Annotations: p.annotations, StartsAt: p.starts.UTC(), EndsAt: p.ends.UTC()}
	if u, err := url.Parse(m.Link); err == nil && u.IsAbs() {
		a.GeneratorURL = m.Link // anything but a URI is refused with 422
	}
	return a, nil
}
