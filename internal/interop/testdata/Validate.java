import java.io.FileInputStream;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.PKIXRevocationChecker.Option;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.Date;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * Validates certificates the way a Java program does, and prints one line for
 * each: java Validate.java ROOT ISSUER CASE…, where a case is
 * FILE:DAYS:OPTION,OPTION… and DAYS is how far in the future it is judged.
 */
public class Validate {
    public static void main(String[] args) throws Exception {
        X509Certificate root = read(args[0]), issuer = read(args[1]);
        for (int i = 2; i < args.length; i++) {
            String[] c = args[i].split(":", 3);
            System.out.println(args[i] + " " + judge(root, issuer, read(c[0]), Integer.parseInt(c[1]), c[2]));
        }
    }

    static X509Certificate read(String file) throws Exception {
        try (FileInputStream in = new FileInputStream(file)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
    }

    static String judge(X509Certificate root, X509Certificate issuer, X509Certificate leaf, int days, String options) throws Exception {
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        EnumSet<Option> set = EnumSet.noneOf(Option.class);
        for (String o : options.split(",")) {
            if (!o.isEmpty()) {
                set.add(Option.valueOf(o));
            }
        }
        checker.setOptions(set);
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        parameters.addCertPathChecker(checker);
        if (days > 0) {
            parameters.setDate(new Date(System.currentTimeMillis() + Duration.ofDays(days).toMillis()));
        }
        try {
            validator.validate(CertificateFactory.getInstance("X.509").generateCertPath(List.of(leaf, issuer)), parameters);
        } catch (CertPathValidatorException e) {
            String why = e.getReason() + " at " + e.getIndex();
            if (e.getCause() instanceof CertificateRevokedException r) {
                why += " " + r.getRevocationReason() + " by " + r.getAuthorityName();
            }
            return "refused: " + why + " (" + e.getMessage() + ")";
        }
        return "accepted" + (checker.getSoftFailExceptions().isEmpty() ? "" : ", unchecked: " + checker.getSoftFailExceptions());
    }
}
